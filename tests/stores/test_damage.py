"""A record that somebody else has spoilt: the verb is refused, nothing is half done, and a repair is enough."""

from collections.abc import Callable
from typing import Any

import pytest

from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Unit
from budget_middleware.core.verbs import Expire, Extend, Repair
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.records.records import pack_targets
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit, audit_report
from tests.stores.by_hand import change_word
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import (
    KEY,
    START_MS,
    Verb,
    adjust,
    figures,
    finalize,
    grow,
    release,
    reserve,
    send,
    seqs,
    target,
    whole_journal,
)

pytestmark = pytest.mark.parametrize("make_store", ["server"], indirect=True)

COUNTER = KEY.counter.name
TEAM = target("team:b")


@pytest.fixture
async def redis(open_store: Callable[..., Store]) -> ClockedRedisStore:
    """A store in which `r1` holds 0.60, on two counters."""
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    await store.finalize(finalize("r0", "0.10", TEAM, KEY))
    await store.reserve(reserve("r1", "0.60", TEAM, KEY))
    return store


async def contents(store: ClockedRedisStore) -> dict[str, Any]:
    client = store._client()
    readers = {
        "hash": client.hgetall,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        "stream": client.xrange,
        "string": client.get,
    }
    keys = [key async for key in client.scan_iter(match="*") if key.startswith(store._prefix)]
    return {key: await readers[await client.type(key)](key) for key in keys}


TARGETS = pack_targets((TEAM, KEY))


async def restore(store: ClockedRedisStore, key: str) -> None:
    """As `keep_sound` found it."""
    await store._client().delete(f"{store._prefix}{key}")
    if await store._client().exists("sound"):
        await store._client().rename("sound", f"{store._prefix}{key}")


async def keep_sound(store: ClockedRedisStore, key: str) -> None:
    await store._client().copy(f"{store._prefix}{key}", "sound", replace=True)


NEW = (reserve("new", "0.10", TEAM, KEY), finalize("new", "0.10", TEAM, KEY), adjust("new", "0.10", TEAM, KEY))
OWN = (finalize("r1", "0.10"), release("r1"), grow("r1", "0.90", lease_s=90), Expire("r1"))

FIELDS: list[tuple[str, str, str, tuple[Verb, ...]]] = [
    (f"c:{COUNTER}", "spent", "1.5", NEW + OWN),
    (f"c:{COUNTER}", "spent", "", NEW + OWN),
    (f"c:{COUNTER}", "reserved", "1e9", NEW + OWN),
    (f"c:{COUNTER}", "reserved", "007", NEW + OWN),
    (f"c:{COUNTER}", "reserved", "-0", NEW + OWN),
    (f"c:{COUNTER}", "spent", "9" * 19, NEW + OWN),
    (f"c:{COUNTER}", "adjusted", "many", NEW),
    ("meta", "seq", "many", NEW + OWN),
    ("meta", "seq", "7.5", NEW + OWN),
    ("meta", "seq", "-5", NEW + OWN),
    ("meta", "seq", "9" * 16, NEW + OWN),
    ("meta", "generation", "of two words", NEW + OWN),
    ("r:r1", "state", "undecided", (*OWN, Extend("r1", lease_ms=1))),
    ("r:r1", "asked", "", OWN),
    ("r:r1", "asked", "600000000", OWN),
    ("r:r1", "asked", "usd:0.6", OWN),
    ("r:r1", "asked", "usd:-600000000", OWN),
    ("r:r1", "held", f"usd:{'9' * 19}", OWN),
    ("r:r1", "held", "usd:0600000000", OWN),
    ("r:r1", "held", "usd:1,usd:2", OWN),
    ("r:r1", "charge", "-", OWN),
    ("r:r1", "charge", "usd:-1", OWN),
    ("r:r1", "actual", "x", OWN),
    ("r:r1", "due", "soon", OWN),
    ("r:r1", "made", "then", OWN),
    ("r:r1", "targets", "", OWN),
    ("r:r1", "targets", TARGETS[:-3] + " x", OWN),
    ("r:r1", "targets", TARGETS + " more", OWN),
    ("r:r1", "targets", TARGETS.rpartition("=")[0], OWN),
    ("r:r1", "targets", TARGETS.rpartition("=")[0] + "=", OWN),
    ("r:r1", "targets", TARGETS + "x", OWN),
    ("r:r1", "targets", TARGETS + "\nmore", OWN),
    ("r:r1", "targets", TARGETS.replace("to=1", "to=q1"), OWN),
]


@pytest.mark.proves("I5")
@pytest.mark.parametrize(
    ("key", "field", "value", "verb"),
    [(key, field, value, verb) for key, field, value, verbs in FIELDS for verb in verbs],
    # No blank at the end: by such an id a test cannot be run alone.
    ids=lambda value: type(value).__name__ if isinstance(value, Verb) else value.strip() or None,
)
async def test_a_spoilt_field_refuses_the_verb_and_changes_nothing(
    redis: ClockedRedisStore, key: str, field: str, value: str, verb: Verb
):
    await keep_sound(redis, key)
    await change_word(redis, key, field, value)
    before = await contents(redis)
    with pytest.raises(StoreRefused):
        await send(redis, verb)
    assert await contents(redis) == before
    await restore(redis, key)
    await send(redis, verb)
    await audit(redis)


@pytest.mark.parametrize("field", ["state", "targets", "asked", "due"])
@pytest.mark.parametrize("verb", [*OWN, Extend("r1", lease_ms=1)], ids=lambda verb: type(verb).__name__)
async def test_a_missing_field_refuses_the_verb_and_changes_nothing(redis: ClockedRedisStore, field: str, verb: Verb):
    await keep_sound(redis, "r:r1")
    await change_word(redis, "r:r1", field, "")
    before = await contents(redis)
    with pytest.raises(StoreRefused):
        await send(redis, verb)
    assert await contents(redis) == before
    await restore(redis, "r:r1")
    await send(redis, verb)
    await audit(redis)


@pytest.mark.parametrize("key", [f"c:{COUNTER}", f"h:{COUNTER}", "holds", "entries", "meta"])
@pytest.mark.parametrize("verb", [NEW[0], *OWN], ids=lambda verb: type(verb).__name__)
async def test_a_key_of_another_type_refuses_the_verb_and_changes_nothing(
    redis: ClockedRedisStore, key: str, verb: Verb
):
    client, name = redis._client(), f"{redis._prefix}{key}"
    await client.rename(name, f"{name}.sound")
    await client.set(name, "not ours")
    before = await contents(redis)
    with pytest.raises(StoreRefused):
        await send(redis, verb)
    assert await contents(redis) == before
    await client.rename(f"{name}.sound", name)
    await send(redis, verb)
    await audit(redis)


@pytest.mark.parametrize("key", ["r:r1", f"h:{COUNTER}"])
async def test_extend_is_refused_before_it_writes(redis: ClockedRedisStore, key: str):
    client, name = redis._client(), f"{redis._prefix}{key}"
    await client.delete(name)
    await client.set(name, "not ours")
    before = await contents(redis)
    with pytest.raises(StoreRefused):
        await redis.extend(Extend("r1", lease_ms=1))
    assert await contents(redis) == before


# A neighbour: another key of the same team, whose verbs go on whatever happened to `key:a`.


NEIGHBOUR = (target("key:z", "1.00"), TEAM)


async def neighbour_goes_on(store: ClockedRedisStore, name: str) -> None:
    assert (await store.reserve(reserve(f"{name}1", "0.10", *NEIGHBOUR))).status is Status.RESERVED
    assert (await store.extend(Extend(f"{name}1", lease_ms=60_000))).status is Status.EXTENDED
    assert (await store.grow(grow(f"{name}1", "0.20"))).status is Status.GROWN
    assert (await store.finalize(finalize(f"{name}1", "0.10"))).status is Status.FINALIZED
    assert (await store.reserve(reserve(f"{name}2", "0.10", *NEIGHBOUR))).status is Status.RESERVED
    assert (await store.release(release(f"{name}2"))).status is Status.RELEASED
    assert (await store.adjust(adjust(f"{name}3", "0.01", *NEIGHBOUR))).status is Status.ADJUSTED


async def spoil(store: ClockedRedisStore, key: str) -> None:
    await store._client().delete(f"{store._prefix}{key}")
    await store._client().set(f"{store._prefix}{key}", "not ours")


@pytest.mark.proves("I8")
@pytest.mark.parametrize("key", [f"c:{COUNTER}", f"h:{COUNTER}", "r:r1", "totals"])
async def test_what_is_spoilt_harms_no_neighbour(redis: ClockedRedisStore, clock: MovableClock, key: str):
    """Neither before the lease on it is over, nor after, when every verb on the team's counter meets it first."""
    await spoil(redis, key)
    await neighbour_goes_on(redis, "before")
    clock.advance(s=60)
    await neighbour_goes_on(redis, "after")
    assert (await redis.sweep(at_most=1)).status in (Status.EXPIRED, Status.LEASES_DUE)
    assert (await redis.sweep(at_most=1)).status is Status.EXPIRED
    await neighbour_goes_on(redis, "at-last")


async def test_a_due_hold_that_cannot_be_booked_is_tried_again_until_it_can(
    redis: ClockedRedisStore, clock: MovableClock
):
    """Neither the sweep nor the verbs stop at it meanwhile; what it holds on sound counters is held that long."""
    await redis.reserve(reserve("r2", "0.20", *NEIGHBOUR))
    await spoil(redis, f"c:{COUNTER}")
    clock.advance(s=60)
    answer = await redis.sweep(at_most=10)
    assert {entry.reservation_id for entry in answer.entries} == {"r2"}
    assert await figures(redis, TEAM) == ("0.10", "0.00")  # Due: it is not shown as held.
    assert await redis.holds() == []
    held = {proof.counter: proof.balance.reserved for proof in await redis.proofs()}
    assert held[TEAM.counter] == 600_000_000

    await redis._client().delete(f"{redis._prefix}c:{COUNTER}")
    await redis.repair(Repair("x", KEY, 100_000_000, found_at_seq=(await redis.head()).seq))
    clock.advance(s=59)
    assert (await redis.sweep(at_most=10)).entries == ()
    clock.advance(s=1)
    answer = await redis.sweep(at_most=10)
    assert {entry.reservation_id for entry in answer.entries} == {"r1"}
    assert await figures(redis) == await figures(redis, TEAM) == ("0.10", "0.00")
    assert (await audit_report(redis)).drift == ()


async def test_its_owner_books_late_what_could_not_expire(redis: ClockedRedisStore, clock: MovableClock):
    await spoil(redis, f"c:{COUNTER}")
    clock.advance(s=60)
    await redis.sweep(at_most=10)
    with pytest.raises(StoreRefused):
        await redis.finalize(finalize("r1", "0.30"))
    await redis._client().delete(f"{redis._prefix}c:{COUNTER}")
    await redis.repair(Repair("x", KEY, 100_000_000, found_at_seq=(await redis.head()).seq))
    assert (await redis.finalize(finalize("r1", "0.30"))).status is Status.FINALIZED_LATE
    assert await figures(redis) == await figures(redis, TEAM) == ("0.40", "0.00")


# What operators read, and the limits that every worker reads, leave out what cannot be read.


async def test_operators_are_shown_what_is_sound(redis: ClockedRedisStore):
    client = redis._client()
    await redis.reserve(reserve("r2", "0.20", TEAM))
    await change_word(redis, "r:r1", "held", "x")
    await client.set(f"{redis._prefix}r:r9", "not ours")
    await client.zadd(f"{redis._prefix}holds", {"r9": START_MS + 10**6})
    await client.hset(f"{redis._prefix}c:{COUNTER}", "spent", "many")
    await client.hset(f"{redis._prefix}c:no counter", "spent", "1")
    await client.hset(f"{redis._prefix}totals", "team", "many")
    assert [hold.id for hold in await redis.holds()] == ["r2"]
    assert [view.counter for view in await redis.counters()] == [TEAM.counter]
    assert [proof.counter for proof in await redis.proofs()] == [TEAM.counter]
    # Of the totals by kinds, that of reservations on a team alone cannot be read.
    assert await redis.reserved_by_kind() == {(Unit.USD, "key"): 600_000_000, (Unit.USD, "team"): 600_000_000}


async def test_a_limit_that_cannot_be_read_does_not_bind_and_the_others_do(
    redis: ClockedRedisStore, caplog: pytest.LogCaptureFixture
):
    await redis.set_limit("team:b", period=Period.DAY, limit_nanos=5)
    poison = {
        "no period": "5",
        "key:a|day": "many",
        "key:a|fortnight": "5",
        "%:*|day": "5",
        "key:z|day": "-5",
        "key|day": "5",
    }
    for field, nanos in poison.items():
        await redis._client().hset(f"{redis._prefix}limits", field, nanos)
    assert (await redis.limits()).limits == {("team:b", Period.DAY): 5}
    assert {record.args for record in caplog.records} == {(field,) for field in poison}
    assert set(await redis.damage()) == {Damage(f"{redis._prefix}limits {field}", Flaw.UNREADABLE) for field in poison}


async def test_a_record_of_the_journal_that_cannot_be_read_hides_no_other(redis: ClockedRedisStore):
    await redis._client().zadd(f"{redis._prefix}entries", {"poison": 5})
    await redis.sweep(at_most=1)
    await redis.finalize(finalize("r1", "0.10"))
    assert seqs(await whole_journal(redis)) == [1, 2, 3, 4, 6, 7]
    assert seqs(await whole_journal(redis, page=1)) == [1, 2, 3, 4, 6, 7]
    assert seqs(await redis.latest(count=3)) == [4, 6, 7]
    assert await redis.damage() == [Damage(f"{redis._prefix}entries 5", Flaw.UNREADABLE)]


@pytest.mark.parametrize("seq", ["0", "1", None])
async def test_a_journal_that_is_ahead_is_continued(redis: ClockedRedisStore, seq: str | None):
    """At once where the seq is gone; else by the next sweep, which each gateway does in passing."""
    client, meta = redis._client(), f"{redis._prefix}meta"
    await (client.hset(meta, "seq", seq) if seq else client.hdel(meta, "seq"))
    if seq:
        swept = await redis.sweep(at_most=1)
        assert (swept.seq, swept.written) == (4, 0)
    answer = await redis.finalize(finalize("r1", "0.10"))
    assert (answer.seq, seqs(answer.entries)) == (6, [5, 6])
    await audit(redis)


async def test_a_journal_that_cannot_be_continued_is_told_by_each_sweep(redis: ClockedRedisStore):
    await redis._client().zadd(f"{redis._prefix}entries", {"poison": 1.8e19})
    before = await contents(redis)
    with pytest.raises(StoreRefused, match="the journal is damaged"):
        await redis.sweep(at_most=1)
    assert await contents(redis) == before


# Everything that is damaged is told, with its key.


DAMAGE: dict[str, tuple[str, str | None, str, str]] = {
    # The key, the field (None: the key becomes a string), the value, what is told.
    "a counter of another type": (f"c:{COUNTER}", None, "", "wrong_type"),
    "an index of another type": (f"h:{COUNTER}", None, "", "wrong_type"),
    "a reservation that is none": ("r:r1", None, "", "unreadable"),
    "leases of another type": ("holds", None, "", "wrong_type"),
    "a journal of another type": ("entries", None, "", "wrong_type"),
    "limits of another type": ("limits", None, "", "wrong_type"),
    "a figure that is none": (f"c:{COUNTER}", "reserved", "1e9", "unreadable"),
    "a huge figure": (f"c:{COUNTER}", "spent", "9" * 19, "unreadable"),
    "an amount below zero": ("r:r1", "held", "usd:-1", "unreadable"),
    "a missing state": ("r:r1", "state", "", "unreadable"),
    "an unknown state": ("r:r1", "state", "undecided", "unreadable"),
    "targets that are none": ("r:r1", "targets", "x", "unreadable"),
    "an adjustment that is none": ("a:new", None, "", "unreadable"),
    "a seq below zero": ("meta", "seq", "-5", "unreadable"),
    "an odd limits version": ("meta", "limits_version", "new", "unreadable"),
    "a generation of two words": ("meta", "generation", "of two", "unreadable"),
    "a total that is none": ("totals", "key", "many", "wrong_total"),
    "a total of nothing": ("totals", "user", "7", "wrong_total"),
    "totals of another type": ("totals", None, "", "wrong_total"),
    "a foreign key": ("sessions", "x", "y", "foreign"),
    "a foreign counter": ("c:key:a|fortnight|1", "spent", "1", "foreign"),
    "a foreign index": ("h:key:a", "spent", "1", "foreign"),
    "a foreign unit": (f"c:{COUNTER}|apples", "spent", "1", "foreign"),
}


@pytest.mark.parametrize(("key", "field", "value", "flaw"), DAMAGE.values(), ids=DAMAGE)
async def test_damage_is_told(redis: ClockedRedisStore, key: str, field: str | None, value: str, flaw: str):
    assert await redis.damage() == []
    if field is None:
        await spoil(redis, key)
    else:
        await change_word(redis, key, field, value)
    before = await contents(redis)
    assert Damage(f"{redis._prefix}{key}", Flaw(flaw)) in await redis.damage()
    assert await contents(redis) == before


async def test_leases_that_lost_their_reservation_are_dropped(redis: ClockedRedisStore):
    client = redis._client()
    await client.delete(f"{redis._prefix}r:r1")
    found = Damage(f"{redis._prefix}r:r1", Flaw.LEASE_WITHOUT_RESERVATION)
    assert await redis.damage() == await redis.damage(mend=True) == [found, *await wrong_totals(redis)]
    assert await redis.damage() == []
    assert not await client.exists(f"{redis._prefix}holds", f"{redis._prefix}h:{COUNTER}")


async def wrong_totals(store: ClockedRedisStore) -> list[Damage]:
    return [Damage(f"{store._prefix}totals", Flaw.WRONG_TOTAL)]


@pytest.mark.parametrize("lost", [[f"h:{COUNTER}"], ["holds"], [f"h:{COUNTER}", "holds"]])
async def test_a_reservation_that_lost_its_leases_gets_them_again(
    redis: ClockedRedisStore, clock: MovableClock, lost: list[str]
):
    """Before *reserved* is summed up, else a repair would take away what it holds."""
    await redis._client().delete(*(f"{redis._prefix}{key}" for key in lost))
    assert Damage(f"{redis._prefix}r:r1", Flaw.RESERVATION_WITHOUT_LEASE) in await redis.damage()
    await redis.damage(mend=True)
    assert await redis.damage() == []
    await audit(redis)
    clock.advance(s=60)
    await redis.sweep(at_most=10)
    assert await figures(redis) == ("0.10", "0.00")


async def test_a_reservation_whose_counters_are_gone_is_shown_and_repaired(redis: ClockedRedisStore):
    """Even where the journal, being trimmed, says nothing of them."""
    client = redis._client()
    await client.delete(*(f"{redis._prefix}{key}" for key in (f"c:{COUNTER}", "entries")))
    report = await audit_report(redis)
    assert [(drift.counter, drift.expected, drift.found) for drift in report.drift] == [(KEY.counter, 600_000_000, 0)]
    (lacks,) = report.corrections
    await redis.repair(Repair("x", KEY, lacks.spent, lacks.found_at_seq))
    assert (await audit_report(redis)).drift == ()
    await redis.finalize(finalize("r1", "0.10"))
    assert await figures(redis) == ("0.10", "0.00")


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_due_lease_without_a_sound_reservation_stops_nobody_else(
    redis: ClockedRedisStore, clock: MovableClock, is_gone: bool
):
    """What it held stays in the counter, where an audit finds it."""
    client, name = redis._client(), f"{redis._prefix}r:r1"
    await (client.delete(name) if is_gone else change_word(redis, "r:r1", "held", "x"))
    clock.advance(s=60)
    assert (await redis.reserve(reserve("r2", "1.00"))).status is Status.REJECTED
    assert (await redis.reserve(reserve("r3", "0.10"))).status is Status.RESERVED
    assert (await redis.sweep(at_most=10)).entries == ()
    proofs = {proof.counter: proof for proof in await redis.proofs()}
    assert proofs[KEY.counter].balance.reserved == 700_000_000
    assert proofs[KEY.counter].held == 100_000_000


async def test_a_lost_due_lease_that_only_the_sweep_met_stops_nobody(redis: ClockedRedisStore, clock: MovableClock):
    await redis._client().delete(f"{redis._prefix}r:r1")
    clock.advance(s=60)
    await redis.sweep(at_most=10)
    assert (await redis.reserve(reserve("r2", "0.90"))).status is Status.REJECTED
