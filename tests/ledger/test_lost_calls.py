"""Requests and replies lost, held up, doubled and refused between a ledger and its store: the figures stay exact."""

import asyncio

import pytest

from budget_middleware.core.answers import Answer
from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.calls import attempts
from budget_middleware.ledger.calls.attempts import until_decided
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, StoreUndecided
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import OpenLedger, hold, nanos, tasks_here
from tests.ledger.faults import (
    FaultyStore,
    refused,
    reply_held,
    reply_lost,
    request_held,
    request_lost,
    twice,
)
from tests.stores.verbs import DAY_MS, START_MS, figures, target

LOST = pytest.mark.parametrize("fault", [request_lost, reply_lost, twice])


async def test_f02_cancelled_inside_reserve(base: Store, faults: FaultyStore, ledger: Ledger):
    gate = Gate()
    faults.meets("reserve", reply_held(gate))
    asking = asyncio.create_task(ledger.reserve(hold()))
    await gate.reached()
    assert await figures(base) == ("0.00", "0.60")
    asking.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await ledger.drain()
    assert await figures(base) == ("0.00", "0.00")


async def test_f02_when_the_store_sees_the_reserve_after_the_release(base: Store, faults: FaultyStore, ledger: Ledger):
    gate, arriving = Gate(), list[asyncio.Task[object]]()
    faults.meets("reserve", request_held(gate, arriving))
    asking = asyncio.create_task(ledger.reserve(hold()))
    await gate.reached()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await ledger.drain()
    gate.open()
    await asyncio.gather(*arriving)
    assert await figures(base) == ("0.00", "0.00")


async def test_f09_first_finalize_fails(base: Store, faults: FaultyStore, ledger: Ledger):
    held = hold()
    assert (await ledger.reserve(held)).admits
    faults.meets("finalize", request_lost)
    answer = await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert answer is not None
    assert answer.status is Status.FINALIZED
    assert await figures(base) == ("0.10", "0.00")


async def test_who_waits_for_an_ending_waits_for_all_its_tries_together(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger
):
    """Each try fails at once and there is always another; the answer must not wait for the last one."""
    ledger, held = open_ledger(store_timeout_s=0.2), hold()
    await ledger.reserve(held)
    faults.always["finalize"] = request_lost
    async with asyncio.timeout(10):
        assert await ledger.finalize(held, actual=Amounts(usd=nanos("0.10"))) is None
    faults.always.clear()
    await ledger.drain()
    assert await figures(base) == ("0.10", "0.00")


async def test_who_waits_for_an_ending_does_not_wait_for_a_store_that_takes_no_cancellation(
    faults: FaultyStore, open_ledger: OpenLedger
):
    ledger, held, gate = open_ledger(store_timeout_s=0.05), hold(), Gate()

    async def cleans_up(apply):
        try:
            await gate.wait()
        except asyncio.CancelledError:
            await gate.wait()
            raise
        return await apply()

    await ledger.reserve(held)
    faults.meets("finalize", cleans_up)
    async with asyncio.timeout(10):
        assert await ledger.finalize(held, actual=Amounts(usd=nanos("0.10"))) is None
    gate.open()
    await ledger.drain()


async def test_who_waits_for_an_ending_that_is_cancelled_before_its_first_step_goes_on(ledger: Ledger):
    held = hold()
    await ledger.reserve(held)
    ending = ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    async with asyncio.timeout(10):
        assert await ending is None


async def test_f10_replies_lost_three_times(base: Store, faults: FaultyStore, ledger: Ledger):
    for method in ("reserve", "finalize", "release"):
        faults.meets(method, reply_lost, reply_lost, reply_lost)
    first, second = hold(), hold()
    assert (await ledger.reserve(first)).status is Status.DUPLICATE
    assert await figures(base) == ("0.00", "0.60")
    await ledger.finalize(first, actual=Amounts(usd=nanos("0.10")))
    assert await figures(base) == ("0.10", "0.00")
    await ledger.reserve(second)
    await ledger.release(second)
    assert await figures(base) == ("0.10", "0.00")
    assert [faults.count(method) for method in ("reserve", "finalize", "release")] == [5, 4, 4]


async def test_f11_two_success_events(base: Store, ledger: Ledger):
    held = hold()
    await ledger.reserve(held)
    endings = [ledger.finalize(held, actual=Amounts(usd=nanos(usd))) for usd in ("0.10", "0.10", "0.20")]
    statuses = [answer.status for answer in await asyncio.gather(*endings) if answer]
    assert statuses == [Status.FINALIZED, Status.ALREADY_FINALIZED, Status.ALREADY_FINALIZED]
    assert await figures(base) == ("0.10", "0.00")


@pytest.mark.parametrize("fault", [request_lost, refused])
async def test_f21_an_error_touches_nobody_else(base: Store, faults: FaultyStore, open_ledger: OpenLedger, fault):
    ledger = open_ledger(store_timeout_s=0.25)
    first, second, third = hold("0.50"), hold("0.20"), hold("0.90")
    assert (await ledger.reserve(first)).admits
    faults.always["reserve"] = fault
    with pytest.raises((StoreUnavailable, StoreRefused)):
        await ledger.reserve(second)
    ledger.abandon(second, reason="store away")
    faults.always.clear()
    assert (await open_ledger().reserve(third)).status is Status.REJECTED
    await ledger.finalize(first, actual=Amounts(usd=nanos("0.50")))
    await ledger.drain()
    assert await figures(base) == ("0.50", "0.00")


async def test_f22_expired_in_flight(base: Store, clock: MovableClock, ledger: Ledger):
    first, second = hold("0.60"), hold("0.90")
    await ledger.reserve(first)
    clock.advance(s=61)
    assert (await ledger.reserve(second)).admits
    late = await ledger.finalize(first, actual=Amounts(usd=nanos("0.60")))
    assert late is not None
    assert late.status is Status.FINALIZED_LATE
    await ledger.finalize(second, actual=Amounts(usd=nanos("0.90")))
    assert await figures(base) == ("1.50", "0.00")


async def test_f23_the_window_turns_in_flight(base: Store, clock: MovableClock, open_ledger: OpenLedger):
    ledger = open_ledger("key=1/day", lease_ms=2 * DAY_MS)
    first, second = hold("0.60"), hold("0.80")
    await ledger.reserve(first)
    clock.advance(ms=DAY_MS)
    assert (await ledger.reserve(second)).admits
    await ledger.finalize(first, actual=Amounts(usd=nanos("0.10")))
    await ledger.finalize(second, actual=Amounts(usd=nanos("0.80")))
    old, new = (target(period=first.targets[0].window.period, at_ms=START_MS + late) for late in (0, DAY_MS))
    assert await figures(base, old) == ("0.10", "0.00")
    assert await figures(base, new) == ("0.80", "0.00")


@LOST
async def test_every_verb_meets_the_fault_once(base: Store, faults: FaultyStore, ledger: Ledger, fault):
    for method in ("reserve", "finalize", "release"):
        faults.meets(method, fault, fault)
    for end in ("finalize", "release", "finalize", "release"):
        held = hold("0.10")
        assert (await ledger.reserve(held)).admits
        if end == "finalize":
            await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
        else:
            await ledger.release(held)
    assert await figures(base) == ("0.04", "0.00")


async def test_refused_after_a_lost_answer_leaves_a_tombstone(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger
):
    """The first attempt is held up; the second is refused; room appears, and only then the first arrives."""
    ledger, gate = open_ledger(), Gate()
    others = hold("0.70")
    await ledger.reserve(others)

    async def delayed_and_lost(apply):
        holding_up = asyncio.ensure_future(request_held(gate, arriving)(apply))
        await gate.reached()
        holding_up.cancel()
        raise StoreUnavailable("reply lost")

    arriving: list[asyncio.Task[object]] = []
    faults.meets("reserve", delayed_and_lost)
    assert (await ledger.reserve(hold("0.60"))).status is Status.REJECTED
    await ledger.release(others)
    await ledger.drain()
    gate.open()
    await asyncio.gather(*arriving)
    assert await figures(base) == ("0.00", "0.00")


async def test_no_answer_in_time_and_served_all_the_same(base: Store, faults: FaultyStore, open_ledger: OpenLedger):
    """Open mode, the reserve arriving before, after or never: what was used is booked once, nothing is held."""
    ledger, gate, arriving = open_ledger(store_timeout_s=0.25), Gate(), list[asyncio.Task[object]]()
    faults.meets("reserve", request_held(gate, arriving), reply_held(gate))
    holds = [hold("0.10") for _ in range(2)]
    for held in holds:
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(held)
    endings = [ledger.finalize(held, actual=Amounts(usd=nanos("0.03"))) for held in holds]
    statuses = [answer.status for answer in await asyncio.gather(*endings) if answer]
    assert statuses == [Status.FINALIZED_UNRESERVED, Status.FINALIZED]
    gate.open()
    await asyncio.gather(*arriving)
    assert await figures(base) == ("0.06", "0.00")


async def test_an_admitted_repeat_holds_what_the_first_attempt_held(
    faults: FaultyStore, clock: MovableClock, open_ledger: OpenLedger
):
    """The window turns, and the ledger learns of it, between a lost reply and its repeat."""
    ledger = open_ledger("key=1/day", lease_ms=2 * DAY_MS)

    async def lost_while_the_day_ends(apply):
        await apply()
        clock.advance(ms=DAY_MS)
        await ledger.reserve(hold("0.10", key="b"))
        raise StoreUnavailable("reply lost")

    faults.meets("reserve", lost_while_the_day_ends)
    held = hold("0.60")
    answer = await ledger.reserve(held)
    assert answer.recorded is not None
    assert held.targets == answer.recorded.targets
    assert held.targets[0].window.starts_ms <= START_MS < held.targets[0].window.ends_ms


async def test_a_credit_is_booked_once_whatever_is_lost(base: Store, faults: FaultyStore, ledger: Ledger):
    faults.meets("adjust", reply_lost, request_lost, reply_lost)
    claims = await ledger.claims({"key": "a"}, model="")
    answer = await ledger.adjust(claims, amount=Amounts(usd=-nanos("0.25")), reason="goodwill")
    assert answer.status in (Status.ADJUSTED, Status.DUPLICATE)
    assert (await base.counters())[0].balance.spent == -NANOS_PER_USD // 4


async def test_what_is_never_decided_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch):
    """By a store that answers without ever waiting, as memory does. Whoever answers is not away."""
    monkeypatch.setattr(attempts, "UNDECIDED_S", 0.05)
    undecided = Answer(Status.STALE_LIMITS, now_ms=0, generation="g", seq=0, limits_version=1)

    async def attempt() -> Answer:
        return undecided

    with pytest.raises(StoreUndecided, match="undecided"):
        await until_decided(attempt, time_limit=SharedTimeout(0.01))


async def test_an_adjust_without_answer_says_so_in_time(faults: FaultyStore, open_ledger: OpenLedger):
    ledger = open_ledger(store_timeout_s=0.25)
    faults.always["adjust"] = request_held(Gate())
    claims = await ledger.claims({"key": "a"}, model="")
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(ledger.adjust(claims, amount=Amounts(usd=1), reason="none"), timeout=5)
    for task in await tasks_here():
        task.cancel()
