"""A shutdown waits for what was reserved and has not ended; what is left then is ended, spooled or logged.

Holds that only a test has are without an owner; `reservation` and requests are owners of theirs.
"""

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

import pytest

from budget_middleware.core.costs.charges import End
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import BudgetRejected, Ledger
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.faults import FaultyStore, reply_held, request_lost
from tests.ledger.holds.test_leases import beaten
from tests.stores.verbs import figures, target


async def waits(draining: "asyncio.Task[None]") -> bool:
    """Whether a drain still waits after it had its turns."""
    for _ in range(10):
        await asyncio.sleep(0)
    return not draining.done()


async def test_it_waits_for_a_hold_until_that_has_ended(base: Store, ledger: Ledger):
    held = hold("0.60")
    await ledger.reserve(held)
    draining = asyncio.create_task(ledger.drain(timeout_s=60))
    assert await waits(draining)
    ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    await draining
    assert await figures(base) == ("0.10", "0.00")


async def test_it_waits_for_nothing_where_nothing_is_held(ledger: Ledger):
    with suppress(BudgetRejected):
        async with ledger.reservation({"key": "0" * 16}, estimate_usd="2"):
            pass
    async with asyncio.timeout(30):
        await ledger.drain(timeout_s=3600)


async def test_it_waits_for_a_reserve_that_is_under_way(base: Store, faults: FaultyStore, ledger: Ledger):
    gate, held = Gate(), hold("0.60")
    faults.meets("reserve", reply_held(gate))
    reserving = asyncio.create_task(ledger.reserve(held))
    await gate.reached()
    draining = asyncio.create_task(ledger.drain(timeout_s=60))
    assert await waits(draining)
    gate.open()
    await reserving
    assert await waits(draining)
    ledger.release(held)
    await draining
    assert await figures(base) == ("0.00", "0.00")


async def test_it_waits_for_a_request_whose_hold_has_expired(base: Store, clock: MovableClock, ledger: Ledger):
    """Its ending is owed all the same, and booked late."""
    held = hold("0.60")
    await ledger.reserve(held)
    clock.advance(s=3600)
    await beaten(ledger)
    draining = asyncio.create_task(ledger.drain(timeout_s=60))
    assert await waits(draining)
    ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    await draining
    assert await figures(base) == ("0.10", "0.00")


async def test_it_waits_for_what_is_served_unprotected(base: Store, faults: FaultyStore, open_ledger: OpenLedger):
    ledger, held = open_ledger(store_timeout_s=0.25), hold("0.60")
    faults.always["reserve"] = request_lost
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(held)
    draining = asyncio.create_task(ledger.drain(timeout_s=60))
    assert await waits(draining)
    ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    await draining
    assert await figures(base) == ("0.10", "0.00")


async def test_heartbeats_go_on_while_it_waits(faults: FaultyStore, open_ledger: OpenLedger):
    """It may be granted more time than a lease."""
    ledger, held = open_ledger(lease_ms=30), hold("0.60")
    await ledger.reserve(held)
    draining = asyncio.create_task(ledger.drain(timeout_s=60))
    assert await waits(draining)
    beats_before = faults.count("extend")
    async with asyncio.timeout(30):
        while faults.count("extend") < beats_before + 3:
            await asyncio.sleep(0.01)
    ledger.release(held)
    await draining


BLOCK = target(f"key:{'0' * 16}")


async def block(ledger: Ledger, gate: Gate, *, costs: str) -> None:
    async with ledger.reservation({"key": "0" * 16}, estimate_usd="0.60") as handle:
        if costs:
            handle.add_cost(costs)
        await gate.wait()
        handle.add_cost("0.01")


@pytest.mark.parametrize(("costs", "spent"), [("", "0.00"), ("0.10", "0.10")])
async def test_a_block_that_outlives_it_books_what_it_had_added(base: Store, ledger: Ledger, costs: str, spent: str):
    """As a WebSocket's handler reserves, or a batch job. Nothing can be added to it any more."""
    gate = Gate()
    running = asyncio.create_task(block(ledger, gate, costs=costs))
    await gate.reached()
    await ledger.drain(timeout_s=0)
    assert await figures(base, BLOCK) == (spent, "0.00")
    gate.open()
    with pytest.raises(RuntimeError, match="has ended; nothing can be added"):
        await running
    assert await figures(base, BLOCK) == (spent, "0.00")


async def test_a_block_that_lives_too_long_is_ended_once(base: Store, ledger: Ledger, open_ledger: OpenLedger):
    ledger, gate = open_ledger(max_hold_s=3600), Gate()
    running = asyncio.create_task(block(ledger, gate, costs="0.10"))
    await gate.reached()
    ledger._leases._clock_s = lambda: time.monotonic() + 3601
    await beaten(ledger)
    await ledger._tasks.drain(timeout_s=30)
    assert await figures(base, BLOCK) == ("0.10", "0.00")
    running.cancel()
    await asyncio.wait({running})
    await ledger.drain()
    assert await figures(base, BLOCK) == ("0.10", "0.00")


async def test_a_hold_without_an_owner_is_logged_and_left_to_its_lease(
    base: Store, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    held = hold("0.60")
    await ledger.reserve(held)
    await ledger.drain(timeout_s=0)
    assert f"{held.id} of $0.60 has no owner that could end it, so it is held until its lease expires" in caplog.text
    assert await figures(base) == ("0.00", "0.60")


async def test_a_hold_without_an_owner_is_not_extended_for_ever(
    base: Store, clock: MovableClock, open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture
):
    ledger, held = open_ledger(max_hold_s=3600), hold("0.60")
    await ledger.reserve(held)
    ledger._leases._clock_s = lambda: time.monotonic() + 3601
    for _ in range(2):
        clock.advance(s=40)
        await beaten(ledger)
    assert await figures(base) == ("0.00", "0.00")
    assert caplog.text.count(f"{held.id} of $0.60 has no owner") == 1
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert await figures(base) == ("0.10", "0.00"), "booked late"


async def test_a_server_that_loses_patience_gets_the_rest_ended(base: Store, ledger: Ledger):
    gate = Gate()
    running = asyncio.create_task(block(ledger, gate, costs="0.10"))
    await gate.reached()
    draining = asyncio.create_task(ledger.drain(timeout_s=60))
    assert await waits(draining)
    draining.cancel()
    await asyncio.wait({draining})
    await ledger._tasks.drain(timeout_s=30)
    assert await figures(base, BLOCK) == ("0.10", "0.00")
    running.cancel()
    await asyncio.wait({running})


async def test_one_that_cannot_be_ended_keeps_nobody_else(
    base: Store, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    def fails(_: End) -> None:
        raise TypeError("a bug")

    odd = hold("0.10", abort=fails)
    await ledger.reserve(odd)
    other = hold("0.20")
    other.abort = lambda _: ledger.release(other)
    await ledger.reserve(other)
    await ledger.drain(timeout_s=0)
    assert await figures(base) == ("0.00", "0.10")
    assert f"{odd.id} of $0.10 could not be ended" in caplog.text


@pytest.mark.parametrize("spools", [True, False])
async def test_what_the_store_does_not_answer_is_spooled_or_logged_one_by_one(
    base: Store,
    faults: FaultyStore,
    open_ledger: OpenLedger,
    *,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spools: bool,
):
    ledger = open_ledger("key=10/month", store_timeout_s=0.25, spool_path=tmp_path if spools else None)
    gate = Gate()
    running = [asyncio.create_task(block(ledger, gate, costs=f"0.1{n}")) for n in range(3)]
    await gate.reached(3)
    ids = {held.id for held in await base.holds()}
    faults.always["finalize"] = request_lost
    with caplog.at_level(logging.ERROR):
        await ledger.drain(timeout_s=0.5)
    logged = [line for line in caplog.messages if "not booked by this process" in line]
    assert len(logged) == len(ids) == 3
    assert all(any(id_ in line for line in logged) for id_ in ids)
    if spools:
        faults.always.clear()
        heir = open_ledger(spool_path=tmp_path)
        heir.start()
        await heir.drain()
        assert await figures(base, BLOCK) == ("0.33", "0.00")
    for task in running:
        task.cancel()
    await asyncio.wait(running)
