"""Stores on a clock of the test's own, and histories of them in files of SQLite."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.history.histories import Histories
from tests.stores.clocked import ClockedRedisStore

OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(params=("memory", "server"))
async def open_store(request: pytest.FixtureRequest, clock: MovableClock, namespace: str) -> AsyncIterator[OpenStore]:
    """Makes stores of one ledger; each is empty, as after a loss."""
    opened: list[Store] = []

    async def make(retention: Retention | None = None) -> Store:
        if request.param == "memory":
            store: Store = MemoryStore(retention, clock_ms=clock)
        else:
            url = request.getfixturevalue("server_url")
            store = ClockedRedisStore(url, namespace=namespace, clock_ms=clock, retention=retention)
            await store.forget_everything()
        opened.append(store)
        return store

    yield make
    for store in opened:
        if isinstance(store, ClockedRedisStore):
            await store.forget_everything()
        await store.aclose()


@pytest.fixture
def histories(tmp_path: Path) -> Iterator[Histories]:
    made = Histories(f"sqlite:///{tmp_path}/history.db")
    yield made
    made.close()
