"""What limits would have refused, summed by limit and day: exact with many workers, alike on every store, bounded."""

import asyncio
import random

import pytest

from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.shadow import LARGEST_FIGURE, ShadowDay, ShadowLimit, ShadowSum, day_of
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.stores import base
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.memory import store as memory
from budget_middleware.stores.redis import store as redis_store
from budget_middleware.stores.sql import kept
from budget_middleware.testing import MovableClock
from tests.stores.clocked import ClockedRedisStore
from tests.stores.conftest import OpenStore
from tests.stores.verbs import START_MS

TODAY = day_of(START_MS)
LIMIT = ShadowLimit("key:1f3a5b7c1f3a5b7c", Period.DAY, Unit.USD, 5_000_000_000, LimitMode.SHADOW)
TOKENS = LIMIT._replace(account="key+model:a+gpt-4o", unit=Unit.TOKENS, limit=0, mode=LimitMode.ENFORCE)
ONE = ShadowSum(requests=1, estimates=1_200, enough=5_000_000_100, first_ms=START_MS, last_ms=START_MS)

in_redis = pytest.mark.parametrize("make_store", ["server"], indirect=True)


async def test_what_workers_add_is_one_sum(open_store: OpenStore):
    one, other = open_store(), open_store()
    assert await one.shadow_sums(since_day=TODAY) == []
    later = ShadowSum(requests=2, estimates=800, enough=5_000_000_050, first_ms=START_MS + 5, last_ms=START_MS + 9)
    await one.add_shadow_sums(TODAY, {LIMIT: later, TOKENS: ONE})
    await other.add_shadow_sums(TODAY, {LIMIT: ONE})
    expected = ShadowSum(3, 2_000, 5_000_000_100, START_MS, START_MS + 9)
    assert await one.shadow_sums(since_day=TODAY) == [ShadowDay(TODAY, {LIMIT: expected, TOKENS: ONE})]


async def test_many_workers_at_once_lose_nothing_and_every_store_comes_to_the_same(open_store: OpenStore):
    chance, workers, expected = random.Random(18), [open_store() for _ in range(4)], dict[ShadowLimit, ShadowSum]()
    adding = []
    for number in range(200):
        limit = LIMIT._replace(account=f"team:{chance.randrange(5)}")
        at_ms = START_MS + chance.randrange(1_000)
        newer = ShadowSum(chance.randrange(1, 9), chance.randrange(10**15), chance.randrange(10**15), at_ms, at_ms)
        expected[limit] = expected[limit].plus(newer) if limit in expected else newer
        adding.append(workers[number % 4].add_shadow_sums(TODAY, {limit: newer}))
    await asyncio.gather(*adding)
    (day,) = await workers[0].shadow_sums(since_day=TODAY)
    assert day.sums == expected
    # Past what a script counts exactly, a sum stays where it is.
    assert any(each.estimates == LARGEST_FIGURE for each in expected.values())


async def test_days_are_apart_and_forgotten_in_time(open_store: OpenStore, clock: MovableClock):
    store = open_store()
    await store.add_shadow_sums(TODAY, {LIMIT: ONE})
    clock.advance(s=86_400)
    tomorrow = day_of(clock())
    await store.add_shadow_sums(tomorrow, {LIMIT: ONE})
    assert [each.day for each in await store.shadow_sums(since_day="2020-01-01")] == [TODAY, tomorrow]
    assert [each.day for each in await store.shadow_sums(since_day=tomorrow)] == [tomorrow]
    clock.advance(s=35 * 86_400)
    assert [each.day for each in await store.shadow_sums(since_day="2020-01-01")] == [tomorrow]


async def test_of_a_day_so_many_limits_are_kept_and_the_rest_is_counted(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
):
    for module in (base, memory, redis_store, kept):
        monkeypatch.setattr(module, "SHADOW_LIMITS_MAX", 2)
    store, limits = open_store(), [LIMIT._replace(account=f"key:{n}") for n in range(4)]
    await store.add_shadow_sums(TODAY, dict.fromkeys(limits[:3], ONE))
    await store.add_shadow_sums(TODAY, dict.fromkeys(limits, ONE))
    (day,) = await store.shadow_sums(since_day=TODAY)
    assert day.sums == dict.fromkeys(limits[:2], ONE.plus(ONE))
    assert day.left_out == 3


async def test_they_are_no_drift(store: Store):
    await store.add_shadow_sums(TODAY, {LIMIT: ONE, TOKENS: ONE})
    assert await store.damage() == []


@in_redis
async def test_the_server_drops_a_day_that_nobody_adds_to(store: Store):
    assert isinstance(store, ClockedRedisStore)
    await store.add_shadow_sums(TODAY, {LIMIT: ONE})
    assert 0 < await store._client().pttl(f"{store._prefix}w:{TODAY}") <= 35 * 86_400_000


@in_redis
async def test_what_cannot_be_read_hides_nothing_else_and_is_told(store: Store):
    assert isinstance(store, ClockedRedisStore)
    key = f"{store._prefix}w:{TODAY}"
    await store.add_shadow_sums(TODAY, {LIMIT: ONE})
    name = (await store._client().hkeys(key))[0]
    for poison in ("nonsense", name.replace("day", "lustrum")):
        await store._client().hset(key, poison, "requests=many")
    assert await store.shadow_sums(since_day=TODAY) == [ShadowDay(TODAY, {LIMIT: ONE})]
    assert await store.damage() == [Damage(key, Flaw.UNREADABLE)]


@in_redis
async def test_what_a_newer_version_added_is_kept(store: Store):
    assert isinstance(store, ClockedRedisStore)
    key = f"{store._prefix}w:{TODAY}"
    await store.add_shadow_sums(TODAY, {LIMIT: ONE})
    ((name, text),) = (await store._client().hgetall(key)).items()
    await store._client().hset(key, name, f"{text} most=7")
    await store.add_shadow_sums(TODAY, {LIMIT: ONE})
    assert (await store._client().hget(key, name)).endswith(" most=7")
    assert await store.shadow_sums(since_day=TODAY) == [ShadowDay(TODAY, {LIMIT: ONE.plus(ONE)})]


@in_redis
async def test_a_key_of_another_type_refuses_the_sums_alone(store: Store):
    assert isinstance(store, ClockedRedisStore)
    await store._client().set(f"{store._prefix}w:{TODAY}", "not ours")
    for call in (store.add_shadow_sums(TODAY, {LIMIT: ONE}), store.shadow_sums(since_day=TODAY)):
        with pytest.raises(StoreRefused):
            await call
