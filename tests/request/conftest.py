"""A bench over each kind of store, whose counters must explain themselves when the test is over."""

from collections.abc import AsyncIterator, Callable

import pytest

from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock
from tests.request.bench import Bench
from tests.request.wire import PRICES
from tests.stores.audit import audit
from tests.stores.clocked import ClockedRedisStore, put_on


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovableClock:
    """That of the stores and of this process: the first window of a gateway is not of the day of the run."""
    clock = MovableClock()
    put_on(clock, monkeypatch)
    return clock


@pytest.fixture
def prices(price_file: Callable[[str], str]) -> str:
    return price_file(PRICES)


@pytest.fixture(params=("memory", "server"))
def open_store(request: pytest.FixtureRequest, clock: MovableClock, namespace: str) -> Callable[[], Store]:
    """Opens one worker's view of the counters of this test."""
    if request.param == "memory":
        store = MemoryStore(clock_ms=clock)
        return lambda: store
    url = request.getfixturevalue("server_url")
    return lambda: ClockedRedisStore(url, namespace=namespace, clock_ms=clock)


@pytest.fixture
async def bench(open_store: Callable[[], Store], prices: str, clock: MovableClock) -> AsyncIterator[Bench]:
    bench = Bench(open_store, prices, clock)
    yield bench
    await bench.settle()
    await audit(bench.reader)
    await bench.reader.aclose()


@pytest.fixture
async def memory(prices: str, clock: MovableClock) -> AsyncIterator[Bench]:
    """A bench for what is the same over any store."""
    store = MemoryStore(clock_ms=clock)
    bench = Bench(lambda: store, prices, clock)
    yield bench
    await bench.settle()
    await audit(store)
