"""What a store forgets and when."""

from collections.abc import Callable
from typing import Any

import pytest

from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.verbs import Expire, Extend
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import DAY_MS, Verb, adjust, figures, finalize, grow, release, reserve, send, target

REMEMBER_MS, REMEMBER_EXPIRED_MS, COUNTERS_MS = 100_000, 200_000, 300_000
SHORT = Retention(remember_ms=REMEMBER_MS, remember_expired_ms=REMEMBER_EXPIRED_MS, counters_ms=COUNTERS_MS)
HOUR = target(period=Period.HOUR)

in_memory = pytest.mark.parametrize("make_store", ["memory", "sqlite", "postgres"], indirect=True)
in_redis = pytest.mark.parametrize("make_store", ["server"], indirect=True)


@pytest.fixture
def memory(open_store: Callable[..., Store]) -> Store:
    return open_store(SHORT)


@pytest.fixture
def redis(open_store: Callable[..., Store]) -> ClockedRedisStore:
    store = open_store(SHORT)
    assert isinstance(store, ClockedRedisStore)
    return store


async def ttl_ms(store: ClockedRedisStore, key: str) -> int | None:
    """Milliseconds until the server drops a key; None: it is kept."""
    left_ms: int = await store._client().pttl(f"{store._prefix}{key}")
    assert left_ms != -2, f"there is no {key}"
    return None if left_ms == -1 else left_ms


def is_about(ms: int) -> Any:
    """At most what was set, at least what a slow machine leaves of it."""
    return pytest.approx(ms - 5_000, abs=5_000)


# Finished ids.


@in_memory
async def test_a_finished_id_is_remembered_for_remember_ms(memory: Store, clock: MovableClock):
    await memory.reserve(reserve("r1", "0.60"))
    await memory.finalize(finalize("r1", "0.10"))
    await memory.adjust(adjust("a1", "0.10"))
    clock.advance(ms=REMEMBER_MS - 1)
    assert (await memory.finalize(finalize("r1", "0.10"))).status is Status.ALREADY_FINALIZED
    assert (await memory.adjust(adjust("a1", "0.10"))).status is Status.DUPLICATE
    clock.advance(ms=1)
    assert (await memory.release(release("r1", age_ms=REMEMBER_MS + 1))).status is Status.TOO_OLD
    assert (await memory.adjust(adjust("a1", "0.10"))).status is Status.ADJUSTED


@in_memory
async def test_an_expired_id_is_remembered_longer(memory: Store, clock: MovableClock):
    await memory.reserve(reserve("r1", "0.60", lease_s=1))
    await memory.reserve(reserve("r2", "0.10", lease_s=1))
    clock.advance(s=1)
    await memory.sweep(at_most=9)
    clock.advance(ms=REMEMBER_EXPIRED_MS - 1)
    assert (await memory.finalize(finalize("r1", "0.10"))).status is Status.FINALIZED_LATE
    clock.advance(ms=1)
    assert (await memory.release(release("r2", age_ms=REMEMBER_EXPIRED_MS))).status is Status.TOO_OLD
    clock.advance(ms=REMEMBER_MS - 2)
    assert (await memory.finalize(finalize("r1", "0.10"))).status is Status.ALREADY_FINALIZED
    clock.advance(ms=1)
    assert (await memory.finalize(finalize("r1", "0.10"))).status is Status.FINALIZED_UNRESERVED


@in_redis
async def test_redis_drops_finished_ids_by_itself(redis: ClockedRedisStore, clock: MovableClock):
    for id_ in ("pending", "done", "freed", "expired", "late", "operator"):
        await redis.reserve(reserve(id_, "0.10", lease_s=1 if id_ in ("expired", "late") else 60))
    await redis.finalize(finalize("done", "0.10"))
    await redis.release(release("freed"))
    await redis.release(release("tombstone"))
    await redis.finalize(finalize("unreserved", "0.10"))
    await redis.expire(Expire("operator"))
    clock.advance(s=1)
    await redis.sweep(at_most=9)
    await redis.finalize(finalize("late", "0.10"))
    await redis.adjust(adjust("a1", "0.10"))
    assert await ttl_ms(redis, "r:pending") is None
    for id_ in ("done", "freed", "tombstone", "unreserved", "late"):
        assert await ttl_ms(redis, f"r:{id_}") == is_about(REMEMBER_MS), id_
    for id_ in ("expired", "operator"):
        assert await ttl_ms(redis, f"r:{id_}") == is_about(REMEMBER_EXPIRED_MS), id_
    assert await ttl_ms(redis, "a:a1") == is_about(REMEMBER_MS)
    for kept in ("meta", "entries", "totals", "holds"):
        assert await ttl_ms(redis, kept) is None


# Counters.


@in_memory
async def test_a_counter_is_kept_for_a_time_after_its_window(memory: Store, clock: MovableClock):
    await memory.finalize(finalize("r1", "0.10", HOUR))
    clock.move_to(HOUR.window.ends_ms + COUNTERS_MS - 1)
    assert await figures(memory, HOUR) == ("0.10", "0.00")
    await memory.head()
    assert len(await memory.counters()) == 1
    clock.advance(ms=1)
    await memory.head()
    assert await memory.counters() == []


@in_memory
async def test_a_counter_is_kept_for_a_time_after_its_last_change(memory: Store, clock: MovableClock):
    clock.move_to(HOUR.window.ends_ms + COUNTERS_MS - 1)
    await memory.adjust(adjust("a1", "0.10", HOUR, any_window=True))
    clock.advance(ms=COUNTERS_MS - 1)
    await memory.head()
    assert await figures(memory, HOUR) == ("0.10", "0.00")
    clock.advance(ms=1)
    await memory.head()
    assert await memory.counters() == []


MINUTE, BUCKET, LONG_BUCKET = target(period=Period.MINUTE), target(period=Period("24h")), target(period=Period("30d"))
KEEPS_LONG = Retention(remember_ms=REMEMBER_MS, remember_expired_ms=REMEMBER_EXPIRED_MS, counters_ms=DAY_MS)


@in_memory
@pytest.mark.parametrize("short", [MINUTE, BUCKET], ids=["minute", "bucket"])
async def test_a_counter_of_a_short_window_is_kept_while_late_endings_may_come(
    open_store: Callable[..., Store], clock: MovableClock, short: Target
):
    store = open_store(KEEPS_LONG)
    await store.finalize(finalize("r1", "0.10", short, HOUR, LONG_BUCKET))
    clock.move_to(short.counts_until_ms + 2 * REMEMBER_EXPIRED_MS - 1)
    await store.head()
    assert await figures(store, short) == ("0.10", "0.00")
    clock.advance(ms=1)
    await store.head()
    assert {view.counter for view in await store.counters()} == {HOUR.counter, LONG_BUCKET.counter}


@in_redis
@pytest.mark.parametrize("short", [MINUTE, BUCKET], ids=["minute", "bucket"])
async def test_redis_keeps_a_counter_of_a_short_window_while_late_endings_may_come(
    open_store: Callable[..., Store], clock: MovableClock, short: Target
):
    store = open_store(KEEPS_LONG)
    assert isinstance(store, ClockedRedisStore)
    await store.finalize(finalize("r1", "0.10", short, LONG_BUCKET))
    counted_ms = short.counts_until_ms - clock.now_ms
    assert await ttl_ms(store, f"c:{short.counter.name}") == is_about(counted_ms + 2 * REMEMBER_EXPIRED_MS)
    long_ms = LONG_BUCKET.counts_until_ms - clock.now_ms
    assert await ttl_ms(store, f"c:{LONG_BUCKET.counter.name}") == is_about(long_ms + DAY_MS)
    await store.reserve(reserve("r2", "0.10", short, lease_s=90_000))
    assert await ttl_ms(store, f"c:{short.counter.name}") == is_about(90_000_000 + 2 * REMEMBER_EXPIRED_MS)


@in_memory
async def test_a_counter_is_not_forgotten_while_something_is_pending(memory: Store, clock: MovableClock):
    # From what has ended it has a time at which it would be forgotten.
    await memory.finalize(finalize("r0", "0.20", HOUR))
    await memory.reserve(reserve("r1", "0.60", HOUR))
    clock.move_to(HOUR.window.ends_ms + 10 * COUNTERS_MS)
    await memory.head()
    assert (await memory.finalize(finalize("r1", "0.10"))).status is Status.FINALIZED_LATE
    assert await figures(memory, HOUR) == ("0.30", "0.00")


@in_memory
async def test_totals_are_kept_for_good(memory: Store, clock: MovableClock):
    total = target(period=Period.TOTAL)
    await memory.finalize(finalize("r1", "0.10", total))
    clock.advance(ms=36_500 * DAY_MS)
    await memory.head()
    assert await figures(memory, total) == ("0.10", "0.00")


@in_redis
async def test_redis_drops_counters_after_their_window(redis: ClockedRedisStore, clock: MovableClock):
    total = target(period=Period.TOTAL)
    counter = f"c:{HOUR.counter.name}"
    window_left_ms = HOUR.window.ends_ms - clock.now_ms
    await redis.finalize(finalize("r1", "0.10", HOUR, total))
    assert await ttl_ms(redis, counter) == is_about(window_left_ms + COUNTERS_MS)
    assert await ttl_ms(redis, f"c:{total.counter.name}") is None
    clock.move_to(HOUR.window.ends_ms + 1000)
    await redis.adjust(adjust("a1", "0.10", HOUR, any_window=True))
    assert await ttl_ms(redis, counter) == is_about(COUNTERS_MS)


@in_redis
@pytest.mark.parametrize("last", [finalize("r1", "0.10"), finalize("r1", "0"), release("r1"), Expire("r1")])
@pytest.mark.parametrize("amount", ["0.60", "0"])
async def test_redis_keeps_a_counter_until_a_time_after_whatever_happens_last_to_it(
    redis: ClockedRedisStore, clock: MovableClock, last: Any, amount: str
):
    counter, window_left_ms = f"c:{HOUR.counter.name}", HOUR.window.ends_ms - clock.now_ms
    await redis.finalize(finalize("r0", "0.10", HOUR))
    await redis.reserve(reserve("r1", amount, HOUR))
    await redis.reserve(reserve("r2", "0.20", HOUR))
    await redis.release(release("r2"))
    await redis.adjust(adjust("a1", "0.10", HOUR))
    assert await ttl_ms(redis, counter) == is_about(window_left_ms + COUNTERS_MS)
    clock.move_to(HOUR.window.ends_ms + COUNTERS_MS - 1)
    await redis.extend(Extend("r1", lease_ms=60_000))
    await getattr(redis, type(last).__name__.lower())(last)
    is_changed = amount != "0" or last == finalize("r1", "0.10")
    assert await ttl_ms(redis, counter) == is_about(COUNTERS_MS if is_changed else window_left_ms + COUNTERS_MS)


@in_redis
@pytest.mark.parametrize("renewal", [Extend("r1", lease_ms=2_000_000), *(grow("r1", to, lease_s=2_000) for to in "01")])
async def test_redis_keeps_a_counter_as_long_as_it_is_held_on(
    redis: ClockedRedisStore, clock: MovableClock, renewal: Verb
):
    """By a lease that ends after its window, and by one that is renewed when the window is over."""
    counter = f"c:{HOUR.counter.name}"
    clock.move_to(HOUR.window.ends_ms - 1)
    await redis.reserve(reserve("r1", "0.10", HOUR, lease_s=1_000))
    assert await ttl_ms(redis, counter) == is_about(1_000_000 + COUNTERS_MS)
    clock.advance(s=900)
    await send(redis, renewal)
    assert await ttl_ms(redis, counter) == is_about(2_000_000 + COUNTERS_MS)


@in_redis
@pytest.mark.parametrize("grows", [False, True])
async def test_what_was_held_on_a_counter_that_is_forgotten_is_not_given_back(redis: ClockedRedisStore, grows: bool):
    """Everybody slept: else its reserved figure would become negative. Nor does it grow there."""
    day = target(period=Period.DAY)
    await redis.reserve(reserve("r1", "0.60", HOUR, day))
    await redis._client().delete(f"{redis._prefix}c:{HOUR.counter.name}")
    if grows:
        await redis.grow(grow("r1", "0.90"))
        assert (await figures(redis, HOUR), await figures(redis, day)) == (("0.00", "0.00"), ("0.00", "0.90"))
    await redis.finalize(finalize("r1", "0.10"))
    assert await figures(redis, HOUR) == await figures(redis, day) == ("0.10", "0.00")
    assert set((await redis.reserved_by_kind()).values()) == {0}


@in_redis
async def test_a_counter_that_was_lost_never_gives_back_more_than_it_has(redis: ClockedRedisStore):
    """A server that evicts keys: the first ending makes it anew, and those after it find one that is there."""
    day = target(period=Period.DAY)
    for id_, held in (("r1", "0.60"), ("r2", "0.20"), ("r3", "0.30")):
        await redis.reserve(reserve(id_, held, HOUR, day, charge="0.05"))
    await redis._client().delete(f"{redis._prefix}c:{HOUR.counter.name}")
    await redis.finalize(finalize("r1", "0.10"))
    assert (await figures(redis, HOUR), await figures(redis, day)) == (("0.10", "0.00"), ("0.10", "0.50"))
    await redis.reserve(reserve("r4", "0.25", HOUR, day))
    assert (await figures(redis, HOUR), await figures(redis, day)) == (("0.10", "0.25"), ("0.10", "0.75"))
    await redis.finalize(finalize("r2", "0.10"))
    assert (await figures(redis, HOUR), await figures(redis, day)) == (("0.20", "0.05"), ("0.20", "0.55"))
    await redis.expire(Expire("r3"))
    assert (await figures(redis, HOUR), await figures(redis, day)) == (("0.20", "0.00"), ("0.20", "0.25"))
    await redis.finalize(finalize("r4", "0.10"))
    assert await figures(redis, HOUR) == await figures(redis, day) == ("0.30", "0.00")
    assert set((await redis.reserved_by_kind()).values()) == {0}


@in_redis
async def test_one_that_has_given_back_too_much_is_led_to_nothing_again(redis: ClockedRedisStore):
    """An earlier version has left such counters."""
    await redis.reserve(reserve("r1", "0.60", HOUR))
    await redis._client().hset(f"{redis._prefix}c:{HOUR.counter.name}", "reserved", "-200000000")
    await redis.adjust(adjust("a1", "0.01", HOUR))
    await redis.finalize(finalize("r1", "0.10"))
    assert await figures(redis, HOUR) == ("0.11", "-0.20")
    await redis.reserve(reserve("r2", "0.30", HOUR))
    await redis.finalize(finalize("r2", "0.10"))
    assert await figures(redis, HOUR) == ("0.21", "0.00")


@in_redis
async def test_two_that_expire_together_on_a_counter_that_is_forgotten(redis: ClockedRedisStore, clock: MovableClock):
    for id_ in ("r1", "r2"):
        await redis.reserve(reserve(id_, "0.60", HOUR, charge="0.05"))
    await redis._client().delete(f"{redis._prefix}c:{HOUR.counter.name}")
    clock.advance(s=61)
    await redis.sweep(at_most=100)
    assert await figures(redis, HOUR) == ("0.10", "0.00")


@in_redis
async def test_redis_keeps_a_counter_no_longer_for_an_adjustment_of_nothing(
    redis: ClockedRedisStore, clock: MovableClock
):
    counter = f"c:{HOUR.counter.name}"
    window_left_ms = HOUR.window.ends_ms - clock.now_ms
    await redis.finalize(finalize("r1", "0.10", HOUR))
    clock.move_to(HOUR.window.ends_ms + 1000)
    assert (await redis.adjust(adjust("a1", "0", HOUR, any_window=True))).status is Status.ADJUSTED
    assert await ttl_ms(redis, counter) == is_about(window_left_ms + COUNTERS_MS)


@in_memory
async def test_a_counter_is_kept_no_longer_for_an_adjustment_of_nothing(memory: Store, clock: MovableClock):
    await memory.finalize(finalize("r1", "0.10", HOUR))
    clock.move_to(HOUR.window.ends_ms + COUNTERS_MS - 1)
    assert (await memory.adjust(adjust("a1", "0", HOUR, any_window=True))).status is Status.ADJUSTED
    clock.advance(ms=1)
    await memory.head()
    assert await memory.counters() == []
