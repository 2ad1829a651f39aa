"""A record that somebody else has spoilt: the verb is refused, nothing is half done, and a repair is enough."""

from collections.abc import Callable
from typing import Any

import pytest

from budget_middleware.core.model import Expire, Extend, Status
from budget_middleware.stores.base import Store, StoreRefused
from budget_middleware.stores.packing import counter_name, pack_targets
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import KEY, Verb, adjust, finalize, release, reserve, send, target

pytestmark = pytest.mark.parametrize("make_store", ["fakeredis", "server"], indirect=True)

COUNTER = counter_name(KEY.counter)
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


NEW = (reserve("new", "0.10", TEAM, KEY), finalize("new", "0.10", TEAM, KEY), adjust("new", "0.10", TEAM, KEY))
OWN = (finalize("r1", "0.10"), release("r1"), Expire("r1"))

FIELDS: list[tuple[str, str, str, tuple[Verb, ...]]] = [
    (f"c:{COUNTER}", "spent", "1.5", NEW + OWN),
    (f"c:{COUNTER}", "spent", "", NEW + OWN),
    (f"c:{COUNTER}", "reserved", "1e9", NEW + OWN),
    (f"c:{COUNTER}", "adjusted", "many", NEW),
    ("totals", "key", "many", (NEW[0], *OWN)),
    ("meta", "seq", "many", NEW + OWN),
    ("meta", "seq", "7.5", NEW + OWN),
    ("r:r1", "state", "undecided", (*OWN, Extend("r1", lease_ms=1))),
    ("r:r1", "amount", "", OWN),
    ("r:r1", "amount", "0.6", OWN),
    ("r:r1", "charge", "-", OWN),
    ("r:r1", "actual", "x", OWN),
    ("r:r1", "deadline", "soon", OWN),
    ("r:r1", "targets", "", OWN),
    ("r:r1", "targets", pack_targets([TEAM, KEY])[:-3] + " x", OWN),
    ("r:r1", "targets", pack_targets([TEAM, KEY]) + " more", OWN),
    ("r:r1", "targets", pack_targets([TEAM, KEY]).replace("-11 17", "-11 q7"), OWN),
]


@pytest.mark.parametrize(
    ("key", "field", "value", "verb"),
    [(key, field, value, verb) for key, field, value, verbs in FIELDS for verb in verbs],
    ids=lambda value: type(value).__name__ if isinstance(value, Verb) else None,
)
async def test_a_spoilt_field_refuses_the_verb_and_changes_nothing(
    redis: ClockedRedisStore, key: str, field: str, value: str, verb: Verb
):
    client = redis._client()
    sound = await client.hget(f"{redis._prefix}{key}", field)
    await client.hset(f"{redis._prefix}{key}", field, value)
    before = await contents(redis)
    with pytest.raises(StoreRefused):
        await send(redis, verb)
    assert await contents(redis) == before
    if sound is None:
        await client.hdel(f"{redis._prefix}{key}", field)
    else:
        await client.hset(f"{redis._prefix}{key}", field, sound)
    await send(redis, verb)
    await audit(redis)


@pytest.mark.parametrize("key", [f"c:{COUNTER}", f"p:{COUNTER}", "leases", "totals", "journal", "meta"])
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


async def test_what_operators_read_is_refused_too(redis: ClockedRedisStore):
    client = redis._client()
    await client.hset(f"{redis._prefix}r:r1", "amount", "x")
    with pytest.raises(StoreRefused):
        await redis.holds()
    await client.hset(f"{redis._prefix}r:r1", "amount", "600000000")
    await client.hset(f"{redis._prefix}limits", "no period", "5")
    with pytest.raises(StoreRefused):
        await redis.limits()


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_due_lease_without_a_sound_reservation_stops_nobody_else(
    redis: ClockedRedisStore, clock: MovableClock, is_gone: bool
):
    """What it held stays in the counter, where an audit finds it."""
    client, name = redis._client(), f"{redis._prefix}r:r1"
    await (client.delete(name) if is_gone else client.hset(name, "amount", "x"))
    clock.advance(s=60)
    assert (await redis.reserve(reserve("r2", "1.00"))).status is Status.REJECTED
    assert (await redis.reserve(reserve("r3", "0.10"))).status is Status.RESERVED
    assert (await redis.sweep(at_most=10)).entries == ()
    proofs = {proof.counter: proof for proof in await redis.proofs()}
    assert proofs[KEY.counter].balance.reserved_nanos == 700_000_000
    assert proofs[KEY.counter].pending_nanos == 100_000_000


async def test_a_lost_due_lease_that_only_the_sweep_met_stops_nobody(redis: ClockedRedisStore, clock: MovableClock):
    await redis._client().delete(f"{redis._prefix}r:r1")
    clock.advance(s=60)
    await redis.sweep(at_most=10)
    assert (await redis.reserve(reserve("r2", "0.90"))).status is Status.REJECTED
