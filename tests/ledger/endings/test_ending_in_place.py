"""`Ledger.end` runs an ending in the caller's task, with the same guarantees as `begin_ending`, which makes a task."""

import asyncio
import logging

import anyio
import pytest

from budget_middleware.core.answers import Answer
from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Finalize, Release
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import LIMIT, OpenLedger, hold, nanos, tasks_here
from tests.ledger.faults import Apply, FaultyStore, refused, reply_held, reply_lost, request_held, request_lost
from tests.ledger.test_cancellation import cancelled_at
from tests.stores.verbs import figures

BOOKED = ("0.10", "0.00")


@pytest.fixture
def faults(base: Store) -> FaultyStore:
    return FaultyStore(base, ends_when_cancelled=True)


async def end(ledger: Ledger, held: Hold) -> Answer | None:
    return await ledger.end(
        held, Finalize(held.id, held.targets, Amounts(usd=nanos("0.10")), reason="usage", wants_entries=False)
    )


async def reserved(ledger: Ledger) -> Hold:
    held = hold()
    await ledger.reserve(held)
    return held


async def test_it_is_answered_without_a_task(base: Store, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch):
    ledger = open_ledger(store=base)
    held = await reserved(ledger)
    before = asyncio.all_tasks()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "create_task", None)
        answer = await end(ledger, held)
    assert answer is not None
    assert answer.status is Status.FINALIZED
    # A new connection's own, which offers the server the script as a function, may have ended meanwhile.
    assert asyncio.all_tasks() <= before
    assert await figures(base) == BOOKED


async def test_a_release_gives_back(base: Store, ledger: Ledger):
    held = await reserved(ledger)
    answer = await ledger.end(held, Release(held.id, reason="error_answer", wants_entries=False))
    assert answer is not None
    assert answer.status is Status.RELEASED
    assert await figures(base) == ("0.00", "0.00")


@pytest.mark.parametrize("fault", [request_lost, reply_lost, refused])
async def test_after_a_first_attempt_without_an_answer_it_goes_on(
    base: Store, faults: FaultyStore, ledger: Ledger, fault
):
    held = await reserved(ledger)
    faults.meets("finalize", fault, fault)
    answer = await end(ledger, held)
    assert answer is not None
    assert answer.status in (Status.FINALIZED, Status.ALREADY_FINALIZED)
    assert faults.count("finalize") == 3
    assert await figures(base) == BOOKED


async def test_all_attempts_together_are_waited_for_no_longer_than_the_time_out(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger
):
    ledger = open_ledger(store_timeout_s=0.2)
    held = await reserved(ledger)
    faults.always["finalize"] = request_lost
    async with asyncio.timeout(10):
        assert await end(ledger, held) is None
    assert ledger._endings.waiting == 1
    faults.always.clear()
    await ledger.drain()
    assert await figures(base) == BOOKED


async def test_a_store_that_never_answers_is_waited_for_no_longer_than_the_time_out(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger
):
    ledger, gate = open_ledger(store_timeout_s=0.1), Gate()
    held = await reserved(ledger)
    faults.meets("finalize", reply_held(gate))
    async with asyncio.timeout(10):
        assert await end(ledger, held) is None
    gate.open()
    await ledger.drain()
    assert await figures(base) == BOOKED


async def test_a_store_that_may_hold_on_is_asked_in_a_task(faults: FaultyStore, open_ledger: OpenLedger):
    faults.ends_when_cancelled = False
    ledger, gate = open_ledger(store_timeout_s=0.05), Gate()

    async def cleans_up(apply: Apply):
        try:
            await gate.wait()
        except asyncio.CancelledError:
            await gate.wait()
            raise
        return await apply()

    held = await reserved(ledger)
    faults.meets("finalize", cleans_up)
    async with asyncio.timeout(10):
        assert await end(ledger, held) is None
    gate.open()
    await ledger.drain()


async def test_cancelled_at_every_await(base: Store, open_ledger: OpenLedger):
    for suspension in range(1, 50):
        store = FaultyStore(base, ends_when_cancelled=True)
        ledger = open_ledger(store=store.store)
        held = await reserved(ledger)
        store.meets("finalize", reply_lost, request_lost)
        _, got_so_far = await cancelled_at(end(ledger, held), suspension)
        await ledger.drain()
        spent, held_now = await figures(base)
        assert (spent, held_now) == (f"{suspension / 10:.2f}", "0.00"), f"suspension {suspension}"
        assert not await tasks_here(), f"suspension {suspension}"
        if not got_so_far:
            break
    assert suspension > 2


async def test_a_caller_that_is_cancelled_does_not_wait(base: Store, faults: FaultyStore, ledger: Ledger):
    gate, arriving = Gate(), list[asyncio.Task[object]]()
    held = await reserved(ledger)
    faults.meets("finalize", request_held(gate, arriving))
    ending = asyncio.create_task(end(ledger, held))
    await gate.reached()
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await ledger.drain()
    assert await figures(base) == BOOKED
    gate.open()
    await asyncio.gather(*arriving)
    assert await figures(base) == BOOKED


async def test_inside_a_cancelled_anyio_scope(base: Store, faults: FaultyStore, ledger: Ledger):
    held = await reserved(ledger)
    faults.meets("finalize", request_lost, reply_lost)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await end(ledger, held)
    assert scope.cancelled_caught
    await ledger.drain()
    assert await figures(base) == BOOKED


def test_a_loop_that_closes_while_it_is_waited_for_still_books():
    store = FaultyStore(MemoryStore(clock_ms=MovableClock()), ends_when_cancelled=True)
    gate = Gate()

    async def serve() -> None:
        ledger = Ledger(store.store, limits=parse_limits(LIMIT), store_timeout_s=5)
        held = await reserved(ledger)
        store.meets("finalize", request_held(gate))
        ending = asyncio.create_task(end(ledger, held))
        await gate.reached()
        assert not ending.done()

    asyncio.run(serve())
    assert asyncio.run(figures(store.inner)) == BOOKED


async def test_a_bug_of_a_store_takes_no_answer_from_a_client(
    base: Store, faults: FaultyStore, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    async def raises(_: Apply) -> None:
        raise ZeroDivisionError

    held = await reserved(ledger)
    faults.meets("finalize", raises)
    with caplog.at_level(logging.ERROR, logger="budget_middleware"):
        assert await end(ledger, held) is None
    assert "an ending failed" in caplog.text
    await ledger.release(held)
    assert await figures(base) == ("0.00", "0.00")
