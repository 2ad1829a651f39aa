"""Ledgers over a store that fails as scripted; after the test its counters must explain themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.ledger.calls import breaker
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock
from tests.ledger.faults import FaultyStore
from tests.stores.audit import audit
from tests.stores.clocked import ClockedRedisStore, put_on

OpenLedger = Callable[..., Ledger]

LIMIT = "key=1/month"
"""The limit of most scenarios: B = 1.00."""


def hold(amount: str = "0.60", *, key: str = "a", **more: Any) -> Hold:
    return Hold({"key": key}, Amounts(usd=nanos_from_usd(amount)), **more)


def nanos(usd: str) -> int:
    return nanos_from_usd(usd)


async def tasks_here() -> set["asyncio.Task[Any]"]:
    """The tasks of this event loop besides the test's own, after what was cancelled had its turn."""
    for _ in range(3):
        await asyncio.sleep(0)
    return asyncio.all_tasks() - {asyncio.current_task()}


async def drain(ledger: Ledger) -> None:
    """Drain a ledger whose holds nobody will end: they are the test's own, and a shutdown would wait for that."""
    for left in list(ledger._leases._live.current().holds.values()):
        ledger._leases.drop(left)
    await ledger.drain()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(params=("memory", "server"))
async def base(
    request: pytest.FixtureRequest, clock: MovableClock, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    """A store on the test's clock; memory, and a real server.

    This process is on it too: before its first reply a ledger knows no other, and would begin with a window of today.
    """
    put_on(clock, monkeypatch)
    store: Store = MemoryStore(clock_ms=clock)
    if request.param == "server":
        url = request.getfixturevalue("server_url")
        store = ClockedRedisStore(url, namespace=namespace, clock_ms=clock)
    yield store
    await store.aclose()


@pytest.fixture
def faults(base: Store) -> FaultyStore:
    return FaultyStore(base)


@pytest.fixture
async def open_ledger(faults: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenLedger]:
    """Makes one worker's ledger over the faulty store. When the test is over no task is left behind."""
    # Here calls get lost by the dozen, and each is to be tried again: the breaker has tests of its own.
    monkeypatch.setattr(breaker, "OUTAGES", 1_000_000)
    opened: list[Ledger] = []

    def open_one(limits: str = LIMIT, store: Store | None = None, **options: Any) -> Ledger:
        options = {"store_timeout_s": 5, **options}
        opened.append(Ledger(store or faults.store, limits=parse_limits(limits), **options))
        return opened[-1]

    yield open_one
    for ledger in opened:
        await drain(ledger)
    assert not await tasks_here()
    await audit(faults.inner)


@pytest.fixture
def ledger(open_ledger: OpenLedger) -> Ledger:
    return open_ledger()
