"""Whoever cancels whatever: nothing stays held, nothing owed is lost, no task is left behind."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Generator
from typing import Any

import anyio
import pytest

from budget_middleware.core.costs.learning import AnswerGroup, answer_seen
from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import Period
from budget_middleware.ledger import AnswerFuture, Ledger
from budget_middleware.ledger.sharing import learner
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import LIMIT, OpenLedger, hold, nanos, tasks_here
from tests.ledger.faults import Apply, FaultyStore, reply_held, reply_lost, request_lost
from tests.stores.verbs import figures


class CancelsAt:
    """Awaits a coroutine and cancels the current task as the coroutine suspends for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], suspension: int) -> None:
        self._coroutine = coroutine
        self._left = suspension

    @property
    def is_spent(self) -> bool:
        return self._left <= 0

    def __await__(self) -> Generator[Any, Any, Any]:
        step, given = self._coroutine.send, None
        while True:
            try:
                awaited = step(given)
            except StopIteration as stop:
                return stop.value
            self._left -= 1
            if self._left == 0:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                step, given = self._coroutine.send, (yield awaited)
            except BaseException as error:  # noqa: BLE001  # it is the coroutine's to handle
                step, given = self._coroutine.throw, error


async def cancelled_at(coroutine: Coroutine[Any, Any, Any], suspension: int) -> tuple[bool, bool]:
    """Whether it was cancelled, and whether it got so far at all: a driver may swallow what comes too late."""
    cancels = CancelsAt(coroutine, suspension)
    task = asyncio.ensure_future(_awaited(cancels))
    await asyncio.wait({task})
    return task.cancelled(), cancels.is_spent


async def _awaited(awaitable: CancelsAt) -> Any:
    return await awaitable


async def slow_source(_: str) -> None:
    await asyncio.sleep(0)


async def test_cancelled_at_every_await_of_reserve(base: Store, open_ledger: OpenLedger):
    """Through a slow limits source, stale limits, a lost request, a lost reply and the pauses between them."""
    await base.set_limit("key:b", period=Period.MONTH, limit_nanos=nanos("5"))
    for suspension in range(1, 200):
        store = FaultyStore(base)
        ledger = open_ledger(store=store.store, limits_source=slow_source)
        store.meets("reserve", reply_lost, request_lost, reply_lost)
        held = hold()
        was_cancelled, got_so_far = await cancelled_at(ledger.reserve(held), suspension)
        if not was_cancelled:
            ledger.release(held)
        await ledger.drain()
        assert await figures(base) == ("0.00", "0.00"), f"suspension {suspension}"
        assert not await tasks_here(), f"suspension {suspension}"
        if not got_so_far:
            break
    assert suspension > 12


@pytest.mark.parametrize("verb", ["finalize", "release"])
async def test_cancelled_twice_while_the_ending_is_settled(base: Store, faults: FaultyStore, ledger: Ledger, verb: str):
    gate, held = Gate(), hold()
    await ledger.reserve(held)
    faults.meets(verb, request_lost, reply_held(gate))

    async def request() -> None:
        ending = ledger.release(held) if verb == "release" else ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
        try:
            await asyncio.shield(ending)
        finally:
            await ending

    serving = asyncio.create_task(request())
    await gate.reached()
    serving.cancel()
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    gate.open()
    await ledger.drain()
    assert await figures(base) == ("0.10" if verb == "finalize" else "0.00", "0.00")


async def test_an_ending_inside_a_cancelled_anyio_scope(base: Store, faults: FaultyStore, ledger: Ledger):
    held = hold()
    await ledger.reserve(held)
    faults.meets("finalize", request_lost, reply_lost)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert scope.cancelled_caught
    await ledger.drain()
    assert await figures(base) == ("0.10", "0.00")


async def test_a_reserve_inside_an_anyio_scope_that_times_out(base: Store, faults: FaultyStore, ledger: Ledger):
    gate = Gate()
    faults.meets("reserve", reply_held(gate))
    with anyio.move_on_after(0.01):
        await ledger.reserve(hold())
    await ledger.drain()
    assert await figures(base) == ("0.00", "0.00")


@pytest.mark.parametrize("faulty", [[], [request_lost], [reply_lost]])
def test_a_loop_that_closes_without_draining_still_books(faulty):
    store = FaultyStore(MemoryStore(clock_ms=MovableClock()))

    async def serve() -> None:
        ledger = Ledger(store.store, limits=parse_limits(LIMIT), store_timeout_s=5)
        ended, released = hold("0.10"), hold("0.20")
        await ledger.reserve(ended)
        await ledger.reserve(released)
        for verb in ("finalize", "release"):
            store.meets(verb, *faulty)
        ledger.finalize(ended, actual=Amounts(usd=nanos("0.04")))
        ledger.release(released)
        if faulty:
            # Both endings have begun; the loop closes on them, or on the pause before their next try.
            await asyncio.sleep(0)

    asyncio.run(serve())
    assert asyncio.run(figures(store.inner)) == ("0.04", "0.00")


async def test_drain_waits_for_what_is_owed(base: Store, faults: FaultyStore, ledger: Ledger):
    gate, held = Gate(), hold()
    await ledger.reserve(held)
    faults.meets("finalize", reply_held(gate))
    ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    draining = asyncio.create_task(ledger.drain())
    await gate.reached()
    assert not draining.done()
    gate.open()
    await draining
    assert await figures(base) == ("0.10", "0.00")


async def test_drain_cuts_off_what_a_store_that_is_away_keeps(
    base: Store, faults: FaultyStore, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    held = hold()
    await ledger.reserve(held)
    faults.always["finalize"] = request_lost
    ending = ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    with caplog.at_level(logging.ERROR, logger="budget_middleware"):
        await ledger.drain(timeout_s=0.05)
    assert ending.done()
    assert ending.result() is None
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "cut off" in told
    assert "not booked" in told
    assert f"Finalize(id='{held.id}'" in told
    assert "usd=100000000" in told, "an operator can book by hand what the log tells"
    faults.always.clear()
    await ledger.release(held)


async def test_drain_ends_in_time_however_slowly_a_store_answers(
    faults: FaultyStore, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """So does a file that somebody has cut off."""
    monkeypatch.setattr(learner, "LEARNT_AT_ONCE", 1)
    ledger, held = open_ledger(store_timeout_s=0.5), hold()
    await ledger.reserve(held)
    seen = answer_seen(tokens=5, seconds=1, estimated=100, billed=100)
    assert seen is not None
    for number in range(100):
        ledger.learner.add(AnswerGroup(f"model-{number}"), seen)

    async def answers_late(apply: Apply) -> Any:
        await asyncio.sleep(0.1)
        return await apply()

    faults.always["finalize"], faults.always["learn"] = request_lost, answers_late
    ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    began_s = time.monotonic()
    await ledger.drain(timeout_s=0.5)
    assert time.monotonic() - began_s < 5, "and not ten seconds, a tenth for each model"
    assert f"Finalize(id='{held.id}'" in caplog.text
    faults.always.clear()
    await ledger.release(held)


async def test_drain_gives_up_what_a_store_keeps_that_is_not_silent(
    faults: FaultyStore, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Each ending has a last attempt, which nothing but the shutdown ends."""
    monkeypatch.setattr(FaultyStore, "is_silent", lambda _: False)
    ledger, held = open_ledger(store_timeout_s=0.1), hold()
    await ledger.reserve(held)
    faults.always["finalize"] = reply_held(Gate())
    ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    async with asyncio.timeout(30):
        await ledger.drain(timeout_s=0.1)
    assert f"Finalize(id='{held.id}'" in caplog.text
    faults.always.clear()
    await ledger.release(held)


async def test_drain_waits_for_what_begins_while_it_drains(base: Store, faults: FaultyStore, ledger: Ledger):
    """The last answer may tell that the store lost writes; what is sent again then is waited for too."""
    first, last = hold("0.10"), hold("0.20")
    for held in (first, last):
        await ledger.reserve(held)
    await ledger.finalize(first, actual=Amounts(usd=nanos("0.01")))
    gate = Gate()

    async def ends_later(apply):
        gate.open()
        begun.append(ledger.finalize(first, actual=Amounts(usd=nanos("0.01"))))
        return await apply()

    begun: list[AnswerFuture] = []
    faults.meets("finalize", reply_lost, ends_later, *[request_lost] * 2)
    ledger.finalize(last, actual=Amounts(usd=nanos("0.02")))
    await ledger.drain()
    assert begun[0].done()
    assert await figures(base) == ("0.03", "0.00")


async def test_what_is_owed_is_counted_until_it_is_answered(faults: FaultyStore, ledger: Ledger):
    held, gate = hold(), Gate()
    await ledger.reserve(held)
    faults.meets("finalize", request_lost, reply_held(gate))
    ending = ledger.finalize(held, actual=Amounts(usd=1))
    await gate.reached()
    assert ledger._endings.waiting == 1
    gate.open()
    await ending
    assert ledger._endings.waiting == 0
