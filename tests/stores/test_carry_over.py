"""What a window has not used a limit with carry-over has more in the next one, as the store knows at that instant."""

import asyncio
from dataclasses import replace

import pytest

from budget_middleware.core.model import Carry, Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Adjust, Expire
from budget_middleware.core.windows import Period, previous_window, window_at
from budget_middleware.stores.base import Store
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit_report
from tests.stores.clocked import ClockedRedisStore
from tests.stores.conftest import OpenStore
from tests.stores.verbs import DAY_MS, HOUR_MS, UTC, adjust, finalize, reserve, target, transfer, whole_journal

USD = 10**9


def day(clock: MovableClock, *, percent: int = 50, limit: int = 10 * USD, unit: Unit = Unit.USD) -> Target:
    """The counter of today, whose limit carries over what yesterday has left."""
    window = window_at(Period.DAY, time_ms=clock.now_ms, timezone=UTC)
    carry = Carry(percent, limit, previous_window(window, timezone=UTC).id)
    return Target("key:a", window, limit, unit, carry)


async def refused_limit(store: Store, of: Target) -> int:
    """The limit that a reserve of more than anything is refused by."""
    refused = await store.reserve(reserve("much", "8000000 1000000000", of))
    assert refused.rejection is not None
    assert refused.rejection.target == of.bound_by(refused.rejection.limit)
    return refused.rejection.limit


@pytest.mark.proves("I6")
@pytest.mark.parametrize(
    ("spent", "limit"), [(None, 15 * USD), ("4", 13 * USD), ("10", 10 * USD), ("12", 10 * USD), ("-2", 16 * USD)]
)
async def test_half_of_what_is_left(store: Store, clock: MovableClock, spent: str | None, limit: int):
    if spent is not None:
        await store.adjust(adjust("a1", spent, day(clock)))
    clock.advance(ms=DAY_MS)
    assert await refused_limit(store, day(clock)) == limit


async def test_it_is_rounded_down_and_never_beyond_what_a_limit_may_be(store: Store, clock: MovableClock):
    await store.adjust(Adjust("a1", (day(clock),), Amounts(usd=1)))
    clock.advance(ms=DAY_MS)
    most, large = 9_000_000_000_000_000, 4_999_999_999_999_999
    assert await refused_limit(store, day(clock, limit=USD, percent=33)) == USD + 33 * (USD - 1) // 100
    for number, percent in enumerate((79, 80, 99)):
        answer = await store.reserve(reserve(f"r{number}", "0.000000001", day(clock, limit=large, percent=percent)))
        assert [entry.limit for entry in answer.entries] == [min(most, large + percent * (large - 1) // 100)]


async def test_what_was_carried_does_not_carry_again(store: Store, clock: MovableClock):
    for _ in range(3):
        assert await refused_limit(store, day(clock)) == 15 * USD
        clock.advance(ms=DAY_MS)


@pytest.mark.proves("I5", "I6")
async def test_a_late_booking_counts_at_once(store: Store, clock: MovableClock):
    yesterday = day(clock)
    await store.reserve(reserve("late", "6", yesterday, lease_s=100_000))
    clock.advance(ms=DAY_MS)
    assert await refused_limit(store, day(clock)) == 15 * USD, "what is only held is not spent"
    assert (await store.reserve(reserve("r1", "14", day(clock)))).status is Status.RESERVED
    await store.finalize(finalize("late", "6", yesterday))
    assert await refused_limit(store, day(clock)) == 12 * USD
    refused = await store.reserve(reserve("r2", "0.01", day(clock)))
    assert refused.rejection is not None
    assert (refused.rejection.limit, refused.rejection.is_held) == (12 * USD, True)


@pytest.mark.proves("I6")
async def test_a_late_booking_counts_for_the_next_verb_of_the_same_call(store: Store, clock: MovableClock):
    yesterday = day(clock)
    await store.reserve(reserve("late", "6", yesterday, lease_s=100_000))
    clock.advance(ms=DAY_MS)
    verb = reserve("r1", "11", day(clock))
    first, _, second = await asyncio.gather(
        store.reserve(verb), store.finalize(finalize("late", "6", yesterday)), store.reserve(replace(verb, id="r2"))
    )
    assert first.status is Status.RESERVED
    assert second.rejection is not None
    assert second.rejection.limit == 12 * USD


@pytest.mark.proves("I9")
async def test_the_journal_shows_the_limit_of_that_instant(store: Store, clock: MovableClock):
    yesterday, other = day(clock), target("team:b", "5.00", period=Period.MONTH)
    await store.finalize(finalize("r0", "2", yesterday))
    clock.advance(ms=DAY_MS)
    today = day(clock)
    await store.reserve(reserve("r1", "1", today, other))
    await store.reserve(reserve("r2", "1", today, other))
    await store.adjust(adjust("a1", "4", yesterday, any_window=True))
    await store.finalize(finalize("r1", "1"))
    await store.expire(Expire("r2"))
    await store.finalize(finalize("r2", "0.5"))
    limits = [entry.limit for entry in await whole_journal(store) if entry.counter == today.counter]
    assert limits == [14 * USD, 14 * USD, 12 * USD, 12 * USD, 12 * USD]
    assert {entry.limit for entry in await whole_journal(store) if entry.counter == other.counter} == {5 * USD}
    assert (await audit_report(store)).drift == ()


async def test_a_reservation_remembers_what_its_limit_carries(store: Store, clock: MovableClock):
    today = day(clock)
    verb = reserve("r1", "1", today)
    assert (await store.reserve(verb)).status is Status.RESERVED
    (held,) = await store.holds()
    assert held.targets == (today,)
    assert (await store.reserve(verb)).status is Status.DUPLICATE
    await store.finalize(finalize("r1", "1"))
    ended = await store.reservation("r1")
    assert ended is not None
    assert ended.targets == (replace(today, limit=None),)


async def test_a_transfer_gives_what_is_carried_over_too(store: Store, clock: MovableClock):
    clock.advance(ms=DAY_MS)
    today = day(clock)
    other = replace(today, account="key:b")
    refused = await store.transfer(transfer("t1", "15.01", today, other))
    assert refused.rejection is not None
    assert refused.rejection.limit == 15 * USD
    done = await store.transfer(transfer("t2", "15", today, other))
    assert [entry.limit for entry in done.entries] == [15 * USD, 15 * USD]


async def test_each_unit_by_itself(store: Store, clock: MovableClock):
    tokens = day(clock, unit=Unit.TOKENS, limit=1_000)
    await store.adjust(adjust("a1", "3 800", day(clock), tokens))
    clock.advance(ms=DAY_MS)
    assert await refused_limit(store, day(clock, unit=Unit.TOKENS, limit=1_000)) == 1_100
    assert await refused_limit(store, day(clock)) == 13_500_000_000


async def test_shadow_holds_and_tells_the_limit(store: Store, clock: MovableClock):
    answer = await store.reserve(reserve("r1", "20", day(clock), enforce=False))
    assert answer.status is Status.RESERVED
    assert answer.rejection is not None
    assert answer.rejection.limit == 15 * USD


async def test_the_window_before_is_kept_as_long_as_it_counts(open_store: OpenStore, clock: MovableClock):
    """Also where retention is shorter, and where the limit began to carry over only then."""
    store = open_store(Retention(counters_ms=1_000, remember_ms=1_000))
    yesterday = day(clock)
    await store.finalize(finalize("r0", "1", replace(yesterday, carry=None)))
    await store.finalize(finalize("r1", "7", yesterday))
    clock.move_to(yesterday.window.ends_ms + DAY_MS - 1)
    assert await refused_limit(store, day(clock)) == 11 * USD
    if isinstance(store, ClockedRedisStore):
        (key,) = await store._client().keys(f"{store._prefix}c:*{yesterday.window.id}")
        assert await store._client().pttl(key) > DAY_MS + HOUR_MS


async def test_the_story_that_the_docs_tell(store: Store, clock: MovableClock):
    """docs/windows.md, "What a window has not used"."""

    def month() -> Target:
        window = window_at(Period.MONTH, time_ms=clock.now_ms, timezone=UTC)
        carry = Carry(50, 100 * USD, previous_window(window, timezone=UTC).id)
        return Target("key:a", window, 100 * USD, carry=carry)

    october = month()
    await store.adjust(adjust("a1", "60", october))
    clock.move_to(october.window.ends_ms - 60_000)
    await store.reserve(reserve("stream", "4", october, lease_s=7_200))
    clock.advance(ms=60_000)
    limits = [await refused_limit(store, month())]
    await store.finalize(finalize("stream", "4"))
    limits.append(await refused_limit(store, month()))
    await store.adjust(adjust("a2", "-10", october, any_window=True))
    limits.append(await refused_limit(store, month()))
    await store.adjust(adjust("a3", "118", month()))
    clock.move_to(month().window.ends_ms)
    limits.append(await refused_limit(store, month()))
    assert limits == [120 * USD, 118 * USD, 123 * USD, 100 * USD]
