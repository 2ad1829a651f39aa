"""Heartbeats read what other workers wrote, by which this one goes on while the store is away: once for each change."""

import pytest

from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Ledger
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.faults import FaultyStore, request_lost
from tests.ledger.test_store_loss import fail_over, replica_of


async def spend(ledger: Ledger, amount: str) -> None:
    held = hold(amount)
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos(amount)))


async def spent_by_figures_of(ledger: Ledger, faults: FaultyStore) -> list[int]:
    """What a worker would believe of each counter, if the store were away from now on."""
    return [ledger._local._balance(view.counter).spent for view in await faults.inner.counters()]


async def test_the_journal_is_read_once_for_each_change_of_any_worker(faults: FaultyStore, open_ledger: OpenLedger):
    one, other = open_ledger(), open_ledger()
    for changes in (1, 2):
        await spend(other, "0.30")
        for _ in range(3):
            await one._serve_loop()
        assert faults.count("latest") == changes
        assert await spent_by_figures_of(one, faults) == [changes * nanos("0.30")]


async def test_what_others_wrote_in_the_place_of_what_a_failover_has_lost_is_read(
    open_ledger: OpenLedger, clock: MovableClock
):
    """The journal is as long as it was before, and this worker has written nothing that could be missing."""
    faults = FaultyStore(MemoryStore(clock_ms=clock))
    one, other = open_ledger(store=faults.store), open_ledger(store=faults.store)
    await spend(other, "0.10")
    replica = replica_of(faults.inner)
    await spend(other, "0.50")
    await one._serve_loop()
    position = one._monitor.seen
    fail_over(faults, replica)
    clock.advance(s=1)
    await spend(open_ledger(store=faults.store), "0.20")
    await one._serve_loop()
    assert one._monitor.seen == position
    assert await spent_by_figures_of(one, faults) == [nanos("0.30")]


async def test_what_could_not_be_read_is_read_with_the_next_heartbeat(faults: FaultyStore, open_ledger: OpenLedger):
    one, other = open_ledger(), open_ledger()
    await spend(other, "0.30")
    faults.meets("latest", request_lost)
    with pytest.raises(StoreUnavailable):
        await one._serve_loop()
    await one._serve_loop()
    assert await spent_by_figures_of(one, faults) == [nanos("0.30")]


async def test_what_others_hold_is_believed_for_as_long_as_the_heartbeat_finds_it(
    faults: FaultyStore, open_ledger: OpenLedger
):
    """Nothing is written while a stream runs on: its entry is as good as when it was read."""
    one, other = open_ledger(), open_ledger()
    held = hold("0.30")
    await other.reserve(held)
    (view,) = await faults.inner.counters()
    await one._serve_loop()
    _, seen_s = one._local._seen[view.counter]
    await one._serve_loop()
    balance, seen_again_s = one._local._seen[view.counter]
    assert balance.reserved == nanos("0.30")
    assert seen_again_s > seen_s
    assert faults.count("latest") == 1
    await other.release(held)


async def test_a_rolling_limit_that_is_spent_stays_so_while_the_store_is_away(
    faults: FaultyStore, open_ledger: OpenLedger, clock: MovableClock
):
    """An entry that a heartbeat reads has the figures of its own bucket, and no sum."""
    one = open_ledger("key=1/24h")
    await spend(one, "0.60")
    clock.advance(s=3_600)
    await spend(one, "0.40")
    await one._serve_loop()
    faults.always["reserve"] = request_lost
    asked = hold("0.01")
    with pytest.raises(StoreUnavailable):
        await one.reserve(asked)
    assert one.reserve_locally(asked) is not None
    one.abandon(asked, reason="store away")
