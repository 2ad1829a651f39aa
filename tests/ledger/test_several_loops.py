"""One ledger, several event loops, each in a thread of its own."""

import asyncio
import gc
import threading
import weakref

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Ledger
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.redis import RedisStore
from tests.ledger.conftest import hold, nanos
from tests.stores.audit import audit


def work_in_threads(ledger: Ledger, store: Store, *, threads: int = 2, requests: int = 60) -> None:
    together = threading.Barrier(threads)
    errors: list[BaseException] = []

    async def request() -> None:
        held = hold("0.01")
        if (await ledger.reserve(held)).admits:
            await ledger.finalize(held, actual=Amounts(usd=nanos("0.001")))

    async def serve() -> None:
        await asyncio.gather(*(request() for _ in range(requests)))
        # Heartbeats and endings of this loop are this loop's to drain.
        await ledger.drain()

    def run() -> None:
        together.wait()
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  # the test's thread tells it
            errors.append(error)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    asyncio.run(check(store, spent=nanos("0.001") * threads * requests))


async def check(store: Store, *, spent: int) -> None:
    (view,) = await store.counters()
    assert (view.balance.spent, view.balance.reserved) == (spent, 0)
    await audit(store)
    await store.aclose()


def test_two_loops_over_memory():
    store = MemoryStore()
    work_in_threads(Ledger(store, limits=parse_limits("key=100/total")), store)


def test_two_loops_over_a_server(server_url: str, namespace: str):
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    ledger = Ledger(store, limits=parse_limits("key=100/total"), store_timeout_s=10)
    work_in_threads(ledger, store)


def test_a_loop_that_is_over_is_forgotten():
    """Mounted apps and test clients may run a loop for every request."""
    ledger = Ledger(MemoryStore(), limits=parse_limits("key=100/total"))
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        held = hold("0.01")
        await ledger.reserve(held)
        await ledger.finalize(held, actual=Amounts(usd=1))

    for _ in range(3):
        asyncio.run(serve())
    gc.collect()
    assert [loop() for loop in loops] == [None] * 3
