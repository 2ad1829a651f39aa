"""What the previous format has left in a store is read, ended and written back so that its own gateways can go on.

`previous_format.json` is what the real code of the commit that it names wrote: a reservation in each state, an
adjustment, a journal, a refusal, the lines of a spool file.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Expire, Extend
from budget_middleware.core.windows import Period
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit, audit_report
from tests.stores.by_hand import change_word
from tests.stores.clocked import ClockedRedisStore
from tests.stores.conftest import OpenStore
from tests.stores.verbs import KEY, adjust, figures, finalize, grow, release, reserve, target, whole_journal

pytestmark = pytest.mark.parametrize("make_store", ["server"], indirect=True)

PREVIOUS = json.loads((Path(__file__).parent / "previous_format.json").read_text())
TEAM, TOTAL = target("team:b"), target("global", "50", period=Period.TOTAL)


@pytest.fixture
async def redis(open_store: OpenStore, clock: MovableClock) -> AsyncIterator[ClockedRedisStore]:
    """A store as a gateway of the previous format left it, with an hour for each key that has an end."""
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    client = store._client()
    for name, key in PREVIOUS["keys"].items():
        of = f"{store._prefix}{name}"
        match key["type"]:
            case "hash":
                await client.hset(of, mapping=key["is"])
            case "zset":
                await client.zadd(of, dict(key["is"]))
            case "stream":
                for id_, fields in key["is"]:
                    await client.xadd(of, fields, id=id_)
        if key["lives"]:
            await client.pexpire(of, 3_600_000)
    clock.move_to(PREVIOUS["now_ms"])
    yield store
    await audit(store)
    assert (await audit_report(store)).drift == ()
    assert await store.damage() == []


async def hold(store: ClockedRedisStore, id_: str, *, lease_s: int = 60) -> None:
    version = (await store.head()).limits_version
    assert (await store.reserve(reserve(id_, "0.10", lease_s=lease_s, version=version))).status is Status.RESERVED


async def hash_of(store: ClockedRedisStore, id_: str) -> dict[str, str]:
    found: dict[str, str] = await store._client().hgetall(f"{store._prefix}r:{id_}")
    return found


async def indexed(store: ClockedRedisStore, id_: str) -> list[str]:
    client, prefix = store._client(), store._prefix
    keys = [
        key.removeprefix(prefix) async for key in client.scan_iter(match=f"{prefix}*") if await is_zset(client, key)
    ]
    return sorted([key for key in keys if await client.zscore(f"{prefix}{key}", id_) is not None])


async def is_zset(client: Any, key: str) -> bool:
    return bool(await client.type(key) == "zset")


async def test_operators_read_it(redis: ClockedRedisStore):
    assert [hold.id for hold in await redis.holds()] == ["due", "free", "pending"]
    pending = await redis.reservation("pending")
    assert pending is not None
    assert (pending.state, pending.targets) == (State.PENDING, (KEY, TEAM, TOTAL))
    assert pending.asked == pending.held == Amounts(usd=nanos_from_usd("0.30"))
    assert (pending.expiry_charge.usd, pending.trace[:5]) == (20_000_000, "00-a1")
    assert pending.deadline_ms - pending.created_ms == 60_000
    states = {id_: found.state for id_ in STATES if (found := await redis.reservation(id_))}
    assert states == STATES
    assert await figures(redis) == ("0.30", "0.34")
    assert (await redis.reserved_by_kind())[Unit.USD, "team"] == 340_000_000
    (refused,) = await redis.refusals()
    assert (refused.rejection.target, refused.reservation_id) == (KEY, "refused")


STATES = {
    "finalized": State.FINALIZED,
    "released": State.RELEASED,
    "tombstone": State.RELEASED,
    "unreserved": State.FINALIZED,
    "expired": State.EXPIRED,
    "free": State.PENDING,
}


async def test_the_journal_is_read_with_what_is_written_since(redis: ClockedRedisStore):
    before = await whole_journal(redis)
    assert [entry.op for entry in before[:8]] == [Op.RESERVE] * 3 + [Op.FINALIZE] * 3 + [Op.RESERVE] * 2
    assert (before[3].reason, before[3].bill[:6]) == ("usage", '{"v":1')
    answer = await redis.finalize(finalize("new", "0.10", KEY, TEAM))
    assert await whole_journal(redis) == [*before, *answer.entries]


async def test_its_hold_is_finalized_and_known_to_its_own_gateway(redis: ClockedRedisStore):
    assert (await redis.reserve(reserve("pending", "0.30", KEY, TEAM, TOTAL))).status is Status.DUPLICATE
    assert (await redis.reserve(reserve("pending", "0.31", KEY, TEAM, TOTAL))).status is Status.CONFLICT
    answer = await redis.finalize(finalize("pending", "0.20"))
    assert (answer.status, len(answer.entries)) == (Status.FINALIZED, 3)
    found = await hash_of(redis, "pending")
    assert (found["state"], found["actual"], found["charge"]) == ("finalized", "200000000", "0")
    # All that a gateway of the previous format reads of one.
    assert set(found) >= {"state", "targets", "amount", "charge", "actual", "created", "deadline", "trace"}
    assert await indexed(redis, "pending") == []
    assert (await redis.finalize(finalize("pending", "0.20"))).status is Status.ALREADY_FINALIZED
    assert await figures(redis) == ("0.50", "0.04")


async def test_its_hold_is_released_and_leaves_the_journal(redis: ClockedRedisStore):
    assert (await redis.release(release("pending"))).status is Status.RELEASED
    assert (await hash_of(redis, "pending"))["state"] == "released"
    voided = await redis._client().zrange(f"{redis._prefix}voided", 0, -1)
    assert len([record for record in voided if "pending" in record]) == 2
    assert (await redis.release(release("free"))).status is Status.RELEASED


async def test_its_lease_is_renewed_where_its_own_gateway_looks(redis: ClockedRedisStore, clock: MovableClock):
    before = await indexed(redis, "pending")
    assert before == ["leases", *(f"p:{name}" for name in sorted(each.counter.name for each in (KEY, TEAM, TOTAL)))]
    assert (await redis.extend(Extend("pending", lease_ms=90_000))).status is Status.EXTENDED
    deadline_ms = clock.now_ms + 90_000
    assert (await hash_of(redis, "pending"))["deadline"] == str(deadline_ms)
    assert await indexed(redis, "pending") == before
    assert await redis._client().zscore(f"{redis._prefix}leases", "pending") == deadline_ms


async def test_its_hold_grows_and_its_own_gateway_gives_back_all_of_it(redis: ClockedRedisStore):
    assert (await redis.grow(grow("pending", "0.40"))).status is Status.GROWN
    assert (await redis.grow(grow("pending", "0.50"))).status is Status.GROWN
    found = await hash_of(redis, "pending")
    # What the scripts of the previous format give back, and what a repeated reserve is known by here.
    assert (found["amount"], found["asked"]) == ("500000000", "300000000")
    assert await figures(redis) == ("0.30", "0.54")
    assert (await redis.reserve(reserve("pending", "0.30", KEY, TEAM, TOTAL))).status is Status.DUPLICATE
    assert (await redis.reserve(reserve("pending", "0.50", KEY, TEAM, TOTAL))).status is Status.CONFLICT
    assert (await redis.release(release("pending"))).status is Status.RELEASED
    assert await figures(redis) == ("0.30", "0.04")


async def test_its_due_leases_are_swept_by_any_gateway(redis: ClockedRedisStore, clock: MovableClock):
    clock.advance(s=30)
    await hold(redis, "own", lease_s=1)
    clock.advance(s=1)
    answer = await redis.sweep(at_most=1)
    assert (answer.status, [entry.reservation_id for entry in answer.entries]) == (Status.LEASES_DUE, ["own"])
    answer = await redis.sweep(at_most=10)
    assert (answer.status, {entry.reservation_id for entry in answer.entries}) == (Status.EXPIRED, {"due"})
    assert (await hash_of(redis, "due"))["state"] == "expired"
    assert await figures(redis) == ("0.33", "0.30")
    assert await redis._client().pttl(f"{redis._prefix}c:{KEY.counter.name}") > 0
    assert (await redis.finalize(finalize("due", "0.02"))).status is Status.FINALIZED_LATE
    assert await figures(redis) == ("0.32", "0.30")


async def test_what_is_over_in_it_is_late_or_repeated(redis: ClockedRedisStore):
    assert (await redis.finalize(finalize("expired", "0.10"))).status is Status.FINALIZED_LATE
    assert (await redis.finalize(finalize("finalized", "0.25"))).status is Status.ALREADY_FINALIZED
    assert (await redis.finalize(finalize("released", "0.25"))).status is Status.ALREADY_RELEASED
    assert (await redis.reserve(reserve("tombstone", "0.25"))).status is Status.DUPLICATE
    assert (await redis.expire(Expire("pending"))).status is Status.EXPIRED
    assert (await redis.finalize(finalize("pending", "0.01"))).status is Status.FINALIZED_LATE


async def test_its_adjustment_is_known(redis: ClockedRedisStore):
    assert (await redis.adjust(adjust("a1", "-0.01"))).status is Status.DUPLICATE
    assert (await redis.adjust(adjust("a1", "0.01"))).status is Status.CONFLICT
    assert (await redis.adjust(adjust("a2", "0.01"))).status is Status.ADJUSTED


async def test_its_indexes_are_mended_beside_our_own(redis: ClockedRedisStore):
    await hold(redis, "own")
    client, prefix = redis._client(), redis._prefix
    await client.delete(f"{prefix}leases", f"{prefix}holds", f"{prefix}h:{KEY.counter.name}")
    assert {found.key.removeprefix(prefix) for found in await redis.damage(mend=True)} >= {
        "r:own",
        "r:pending",
        "r:due",
    }
    assert await indexed(redis, "own") == [f"h:{KEY.counter.name}", "holds"]
    assert len(await redis.holds()) == 4


async def test_a_damaged_one_is_refused_and_told(redis: ClockedRedisStore):
    client, name = redis._client(), f"{redis._prefix}r:pending"
    for field, value in {"amount": "-1", "targets": "x", "deadline": "soon", "state": "undecided"}.items():
        sound = await client.hget(name, field)
        await client.hset(name, field, value)
        with pytest.raises(StoreRefused, match="reservation pending is damaged"):
            await redis.finalize(finalize("pending", "0.20"))
        assert Damage(name, Flaw.UNREADABLE) in await redis.damage()
        await client.hset(name, field, sound)


async def test_what_a_reservation_says_that_is_not_known_here_is_kept(redis: ClockedRedisStore):
    """A later version adds words; one that does not know them hands them on."""
    await hold(redis, "new")
    await change_word(redis, "r:new", "colour", "blue")
    await redis.extend(Extend("new", lease_ms=60_000))
    await redis.finalize(finalize("new", "0.10"))
    head = (await redis._client().get(f"{redis._prefix}r:new")).partition("\n")[0]
    assert head.startswith("2 finalized asked=usd:100000000 actual=usd:100000000 made=")
    assert head.endswith(" colour=blue")
    found = await redis.reservation("new")
    assert found is not None
    assert found.state is State.FINALIZED


# What a newer version wrote is refused in one line that says what to do.

UPGRADE = r"was written by a newer version of budget_middleware \(format 3; this one reads up to 2\): upgrade$"


@pytest.mark.parametrize("verb", [finalize("new", "0.10"), release("new"), Extend("new", 1), reserve("new", "0.10")])
async def test_a_reservation_of_a_newer_version_is_left_alone(redis: ClockedRedisStore, clock: MovableClock, verb: Any):
    client, name = redis._client(), f"{redis._prefix}r:new"
    await hold(redis, "new")
    ours = await client.get(name)
    await client.set(name, "3" + ours[1:])
    with pytest.raises(StoreRefused, match=f"reservation new {UPGRADE}"):
        await getattr(redis, type(verb).__name__.lower())(verb)
    with pytest.raises(StoreRefused, match=UPGRADE):
        await redis.reservation("new")
    # Its owner may yet end it: a sweep books nothing and goes on looking.
    clock.advance(s=60)
    await redis.sweep(at_most=10)
    assert await client.get(name) == "3" + ours[1:]
    await client.set(name, ours)
    clock.advance(s=60)
    swept = {entry.reservation_id for entry in (await redis.sweep(at_most=10)).entries}
    assert "new" in swept


async def test_a_store_of_a_newer_version_is_left_alone(redis: ClockedRedisStore):
    await hold(redis, "new")
    client, meta = redis._client(), f"{redis._prefix}meta"
    assert await client.hget(meta, "format") == "2"
    await client.hset(meta, "format", "3")
    for verb in (redis.head(), redis.finalize(finalize("new", "0.10")), redis.sweep(at_most=1)):
        with pytest.raises(StoreRefused, match=f"this store {UPGRADE}"):
            await verb
    await client.hset(meta, "format", "2")


async def test_an_adjustment_and_a_journal_of_a_newer_version_are_refused(redis: ClockedRedisStore):
    client, prefix = redis._client(), redis._prefix
    await client.set(f"{prefix}a:new", "3 adjusted amount=usd:1\nkey:a|month|2026-11 from=1 to=2")
    with pytest.raises(StoreRefused, match=UPGRADE):
        await redis.adjust(adjust("new", "0.01"))
    await client.delete(f"{prefix}a:new")
    latest = await redis.latest(count=5)
    record = "99 99 99\n3 status=reserved id=new at=1\nkey:a|month|2026-11 reserved=0+1"
    await client.zadd(f"{prefix}entries", {record: 99})
    with pytest.raises(StoreRefused, match=f"a record of the journal {UPGRADE}"):
        await redis.journal(after_seq=0, count=100)
    assert await redis.latest(count=5) == latest
    await client.zrem(f"{prefix}entries", record)
