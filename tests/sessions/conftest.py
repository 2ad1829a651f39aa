"""A memory store whose counters must explain themselves when the test is over."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from budget_middleware.stores.memory import MemoryStore
from budget_middleware.testing import MovableClock
from tests.request.wire import PRICES
from tests.stores.audit import audit


@pytest.fixture
def prices(tmp_path: Path) -> str:
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return str(path)


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore(clock_ms=MovableClock())
    yield store
    await audit(store)
