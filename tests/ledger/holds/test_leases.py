"""Heartbeats of what this process holds, and the sweep of everybody's leases that are over.

Beats are counted, never timed: a beat comes as soon as the event loop gets to it, and the store's clock moves
when the test says so.
"""

import asyncio
import logging
import types
from collections import Counter
from contextvars import Context, ContextVar
from functools import partial
from typing import Any

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.ledger.holds.leases import EXTENDED_AT_ONCE, LeaseKeeper
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import OpenLedger, hold, nanos, tasks_here
from tests.ledger.faults import Fault, FaultyStore, refused, reply_lost, request_lost
from tests.stores.verbs import figures, reserve, target


class Beats:
    """The two calls of a keeper; a beat is over when it has swept."""

    def __init__(self) -> None:
        self.extended: Counter[str] = Counter()
        self.gone: set[str] = set()
        self.failing: dict[str, Exception] = {}
        self.swept = asyncio.Semaphore(0)

    async def extend(self, held: Hold) -> bool:
        await asyncio.sleep(0)
        self.extended[held.id] += 1
        if held.id in self.failing:
            raise self.failing[held.id]
        return held.id not in self.gone

    async def sweep(self) -> None:
        self.swept.release()

    async def beat(self, times: int = 1) -> None:
        # Beats that stop would be waited for in vain.
        async with asyncio.timeout(30):
            for _ in range(times):
                await self.swept.acquire()


@pytest.fixture
def beats() -> Beats:
    return Beats()


@pytest.fixture
async def keeper(beats: Beats):
    keeper = LeaseKeeper(every_s=0, extend=beats.extend, sweep=beats.sweep)
    yield keeper
    await keeper.stop()
    assert not await tasks_here()


async def test_a_kept_hold_is_extended_at_every_beat_until_it_is_dropped(beats: Beats, keeper: LeaseKeeper):
    held = hold()
    keeper.start_extending(held)
    await beats.beat(3)
    assert beats.extended[held.id] >= 3
    keeper.drop(held)
    await beats.beat()
    dropped_at = beats.extended[held.id]
    await beats.beat(3)
    assert beats.extended[held.id] == dropped_at


async def test_one_beat_for_all_holds(beats: Beats, keeper: LeaseKeeper):
    for _ in range(3 * EXTENDED_AT_ONCE):
        keeper.start_extending(hold())
    assert len(asyncio.all_tasks()) == 2, "the test's own and the beat"
    await beats.beat()
    assert set(beats.extended.values()) == {1}
    assert len(beats.extended) == 3 * EXTENDED_AT_ONCE


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreRefused("damaged"), TypeError("a bug")])
async def test_what_is_wrong_with_one_hold_leaves_the_others_their_beats(
    beats: Beats, keeper: LeaseKeeper, caplog: pytest.LogCaptureFixture, error: Exception
):
    holds = [hold() for _ in range(2 * EXTENDED_AT_ONCE)]
    beats.failing[holds[0].id] = error
    for held in holds:
        keeper.start_extending(held)
    await beats.beat(2)
    assert all(beats.extended[held.id] >= 1 for held in holds)
    await beats.beat(2)
    assert all(beats.extended[held.id] >= 2 for held in holds), "the next beats come too"
    assert "heartbeat" in caplog.text


async def test_a_hold_that_is_gone_is_not_extended_again(beats: Beats, keeper: LeaseKeeper):
    gone, kept = hold(), hold()
    beats.gone.add(gone.id)
    keeper.start_extending(gone)
    keeper.start_extending(kept)
    await beats.beat(4)
    assert beats.extended[gone.id] == 1
    assert beats.extended[kept.id] >= 3


async def test_beats_belong_to_no_request(beats: Beats):
    """Else all that ever expires would hang under the span of the first request."""
    request = ContextVar("request", default="none")
    seen: list[str] = []

    async def sweep() -> None:
        seen.append(request.get())
        await beats.sweep()

    keeper = LeaseKeeper(every_s=0, extend=beats.extend, sweep=sweep)
    request.set("the first")
    keeper.start_extending(hold())
    await beats.beat()
    await keeper.stop()
    assert set(seen) == {"none"}


async def test_stopped_it_begins_again_with_the_next_hold(beats: Beats, keeper: LeaseKeeper):
    keeper.start_extending(hold())
    await beats.beat()
    await keeper.stop()
    assert not await tasks_here()
    keeper.start_extending(hold())
    await beats.beat()


@types.coroutine
def rest_of(coroutine: Any, awaited: Any):
    while True:
        try:
            sent = yield awaited
        except BaseException as error:  # noqa: BLE001 - whatever a task throws in, the coroutine gets
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, sent)
        try:
            awaited = step()
        except StopIteration as end:
            return end.value


def begun_at_once(loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Context) -> asyncio.Task[Any]:
    """As `asyncio.eager_task_factory`, which Python 3.12 has: the first step is done before anybody has the task.

    For coroutines that do not end in their first step.
    """
    return asyncio.Task(rest_of(coroutine, context.run(coroutine.send, None)), loop=loop, context=context)


async def test_it_beats_where_tasks_begin_at_once(beats: Beats, keeper: LeaseKeeper):
    held = hold()
    loop = asyncio.get_running_loop()
    at_once: Any = getattr(asyncio, "eager_task_factory", begun_at_once)
    loop.set_task_factory(at_once)
    keeper.start_extending(held)
    loop.set_task_factory(None)
    await beats.beat(2)
    assert beats.extended[held.id] >= 2


# In a ledger.


@pytest.mark.parametrize(("lease_ms", "every_s"), [(60_000, 20), (3_000, 1)])
async def test_a_beat_comes_every_third_of_a_lease(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, open_ledger: OpenLedger, lease_ms: int, every_s: float
):
    assert open_ledger(lease_ms=lease_ms)._leases._every_s == every_s


def beaten(ledger: Ledger) -> Any:
    """One beat of this event loop's holds, now."""
    return ledger._leases._beat(ledger._leases._live.current())


async def test_a_long_call_outlives_many_leases(base: Store, clock: MovableClock, ledger: Ledger):
    held = hold("0.60")
    await ledger.reserve(held)
    for _ in range(10):
        clock.advance(s=20)
        await beaten(ledger)
    assert await figures(base) == ("0.00", "0.60")
    answer = await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert answer is not None
    assert answer.status is Status.FINALIZED
    assert await figures(base) == ("0.10", "0.00")


@pytest.mark.parametrize("fault", [request_lost, reply_lost, refused])
async def test_two_missed_beats_cost_nothing(
    base: Store, faults: FaultyStore, clock: MovableClock, ledger: Ledger, fault: Fault
):
    held = hold("0.60")
    await ledger.reserve(held)
    faults.meets("extend", fault, fault)
    for _ in range(2):
        clock.advance(s=19)
        with pytest.raises((StoreUnavailable, StoreRefused)):
            await beaten(ledger)
    clock.advance(s=19)
    await beaten(ledger)
    clock.advance(s=59)
    assert await figures(base) == ("0.00", "0.60")
    await ledger.release(held)


async def test_a_dead_ledgers_holds_are_swept_by_another(base: Store, clock: MovableClock, open_ledger: OpenLedger):
    dead, alive = open_ledger(), open_ledger()
    held = hold("0.60", key="b")
    await dead.reserve(held)
    await dead._leases.stop()
    mine = hold("0.10")
    await alive.reserve(mine)
    clock.advance(s=59)
    await beaten(alive)
    assert await figures(base, target("key:b")) == ("0.00", "0.60")
    clock.advance(s=2)
    await beaten(alive)
    assert await figures(base) == ("0.00", "0.10")
    assert await figures(base, target("key:b")) == ("0.00", "0.00")
    await alive.release(mine)


async def test_a_sweep_goes_on_until_nothing_is_due(base: Store, clock: MovableClock, ledger: Ledger):
    for at in range(600):
        await base.reserve(reserve(f"orphan{at}", "0.001", target(limit="1.00"), lease_s=1))
    clock.advance(s=2)
    await ledger.sweep()
    assert await figures(base) == ("0.00", "0.00")
    assert ledger._expiries.reserved_by_kind == {(Unit.USD, "key"): 0}


async def test_expired_in_a_pause_it_goes_on_and_finalizes_late(
    base: Store, clock: MovableClock, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    held = hold("0.60")
    await ledger.reserve(held)
    clock.advance(s=3600)
    await beaten(ledger)
    assert "could not be renewed: already_expired" in caplog.text
    caplog.clear()
    await beaten(ledger)
    assert not caplog.records, "said once"
    assert await figures(base) == ("0.00", "0.00")
    late = await ledger.finalize(held, actual=Amounts(usd=nanos("0.60")))
    assert late is not None
    assert late.status is Status.FINALIZED_LATE
    assert await figures(base) == ("0.60", "0.00")


async def test_an_ending_that_overtakes_its_heartbeat_is_no_news(
    base: Store, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    held = hold("0.60")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=1))
    with caplog.at_level(logging.WARNING):
        assert await ledger._expiries.extend(held) is False
    assert not caplog.records


async def test_unprotected_and_held_all_the_same_it_is_kept(
    base: Store, faults: FaultyStore, clock: MovableClock, open_ledger: OpenLedger
):
    """Open mode: the reserve was applied, nobody heard of it, the request is served."""
    ledger = open_ledger(store_timeout_s=0.25)
    faults.always["reserve"] = reply_lost
    held = hold("0.60")
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(held)
    clock.advance(s=50)
    await beaten(ledger)
    clock.advance(s=50)
    assert await figures(base) == ("0.00", "0.60")
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert await figures(base) == ("0.10", "0.00")


async def test_an_operators_release_is_an_expiry_without_charge(base: Store, open_ledger: OpenLedger):
    ledger = open_ledger()
    held = hold("0.60", expiry_charge=Amounts(usd=nanos("0.60")))
    await ledger.reserve(held)
    assert (await open_ledger().expire(held.id, reason="stuck")).status is Status.EXPIRED
    assert await figures(base) == ("0.00", "0.00")
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert await figures(base) == ("0.10", "0.00")
    assert (await ledger.expire(held.id, reason="again")).status is Status.ALREADY_FINALIZED
    assert (await ledger.expire("nobody", reason="typo")).status is Status.UNKNOWN


async def test_a_store_that_hangs_stops_a_beat_in_time(faults: FaultyStore, open_ledger: OpenLedger):
    ledger, gate = open_ledger(store_timeout_s=0.25), Gate()
    held = hold("0.60")
    await ledger.reserve(held)

    async def hangs(_: Any) -> Any:
        await gate.wait()

    faults.meets("extend", hangs)
    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.25 s"):
        await beaten(ledger)
    await ledger.release(held)
