"""The log of refusals: what a reserve that changed nothing leaves for `explain`."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import START_MS, target

SPENT = LoggedRefusal(
    START_MS,
    "r1",
    ("key:a", "team:b"),
    Rejection(target(limit="1.00"), Balance(-5, 700_000_000), 400_000_000),
    model="gpt-4o",
    trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
HELD = LoggedRefusal(
    START_MS + 1,
    "r2",
    ("global",),
    Rejection(target("global", "0", period=Period.TOTAL), Balance(), 1),
    is_enforced=False,
    times=7,
)

in_redis = pytest.mark.parametrize("make_store", ["server"], indirect=True)


async def test_every_field_comes_back_and_the_oldest_is_first(store: Store):
    assert await store.refusals() == []
    await store.log_refusals([HELD])
    await store.log_refusals([SPENT])
    assert await store.refusals() == [SPENT, HELD]
    assert (await store.counters(), await store.holds()) == ([], [])
    assert (await store.head()).seq == 0


async def test_the_last_ones_are_kept(open_store: Callable[..., Store]):
    store = open_store(Retention(refusals_max=3))
    await store.log_refusals([replace(SPENT, reservation_id=f"r{n}", time_ms=START_MS + n) for n in range(4)])
    await store.log_refusals([replace(SPENT, reservation_id="last", time_ms=START_MS + 9)])
    assert [refusal.reservation_id for refusal in await store.refusals()] == ["r2", "r3", "last"]


async def test_they_are_forgotten_in_time(store: Store, clock: MovableClock):
    await store.log_refusals([SPENT])
    clock.advance(s=35 * 86_400)
    await store.log_refusals([replace(SPENT, reservation_id="new", time_ms=clock())])
    assert [refusal.reservation_id for refusal in await store.refusals()] == ["new"]


@in_redis
async def test_the_server_drops_what_nobody_adds_to(store: Store):
    assert isinstance(store, ClockedRedisStore)
    await store.log_refusals([SPENT])
    left_ms = await store._client().pttl(f"{store._prefix}refusals")
    assert 0 < left_ms <= 35 * 86_400_000


@in_redis
async def test_a_refusal_that_cannot_be_read_hides_no_other(store: Store):
    assert isinstance(store, ClockedRedisStore)
    await store.log_refusals([SPENT])
    sound = (await store._client().xrange(f"{store._prefix}refusals"))[0][1]
    poison = [{"time": "1"}, {**sound, "estimate": "many"}, {**sound, "target": "x"}]
    unlimited = {**sound, "target": sound["target"].rsplit(" ", 1)[0] + " -"}
    for n, fields in enumerate([*poison, unlimited]):
        await store._client().xadd(f"{store._prefix}refusals", fields, id=f"9999999999999-{n}")
    assert await store.refusals() == [SPENT]
    assert await store.damage() == [
        Damage(f"{store._prefix}refusals 9999999999999-{n}", Flaw.UNREADABLE) for n in range(4)
    ]


@in_redis
async def test_a_key_of_another_type_is_told_and_refuses_the_log_alone(store: Store):
    assert isinstance(store, ClockedRedisStore)
    await store._client().set(f"{store._prefix}refusals", "not ours")
    for call in (store.log_refusals([SPENT]), store.refusals()):
        with pytest.raises(StoreRefused):
            await call
    assert await store.damage() == [Damage(f"{store._prefix}refusals", Flaw.WRONG_TYPE)]
