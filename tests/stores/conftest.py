"""Every store, each on a clock that the test moves and in a namespace of its own."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import fakeredis
import pytest

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.ledger import Ledger
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.postgres_store import PostgresStore
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit
from tests.stores.clocked import ClockedRedisStore, FakeRedisStore
from tests.stores.deployments import Cluster, Watched, started
from tests.stores.shards import OneShardStore, opener_of_memory_shards

OpenStore = Callable[..., Store]
OpenLedger = Callable[[], Ledger]

STORES = ("memory", "sqlite", "postgres", "server")
FAKE = "fakeredis"
"""What users may run their own tests on: the table of conformance holds on it too."""
SHARDED = "sharded"
"""A store over shards: verbs of one shard pass through as they are."""
CLUSTER = "cluster"
"""Nodes that take a while to start: only the table of conformance asks for them."""


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(params=STORES)
def make_store(request: pytest.FixtureRequest, clock: MovableClock, namespace: str) -> OpenStore:
    """Makes one worker's view of the counters of this test; `retention` goes with the first."""
    if request.param == "memory":
        shared: list[MemoryStore] = []

        def make_shared(retention: Retention | None = None) -> Store:
            shared.append(shared[0] if shared else MemoryStore(retention, clock_ms=clock))
            return shared[0]

        return make_shared
    if request.param == "sqlite":
        file_url = f"sqlite:///{request.getfixturevalue('tmp_path')}/budget.db"
        return lambda retention=None: SqliteStore(
            file_url, namespace=namespace, timeout_s=10, clock_ms=clock, retention=retention
        )
    if request.param == SHARDED:
        opener = opener_of_memory_shards(clock)
        return lambda retention=None: OneShardStore(partial(opener, retention), retention=retention)
    if request.param == "postgres":
        database_url = request.getfixturevalue("postgres").url()
        return lambda retention=None: PostgresStore(
            database_url, namespace=namespace, timeout_s=10, clock_ms=clock, retention=retention
        )
    if request.param == FAKE:
        server = fakeredis.FakeServer()
        return lambda retention=None: FakeRedisStore(server, namespace=namespace, clock_ms=clock, retention=retention)
    url = request.getfixturevalue("cluster").url if request.param == CLUSTER else request.getfixturevalue("server_url")
    return lambda retention=None: ClockedRedisStore(url, namespace=namespace, clock_ms=clock, retention=retention)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three primaries with a replica each. Who disturbs it waits until it is whole again."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    with started(cluster):
        yield cluster


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A primary with two replicas, and three Sentinels. Who disturbs them waits until they are whole again."""
    watched = Watched(tmp_path_factory.mktemp("watched"))
    with started(watched):
        yield watched


@pytest.fixture
async def open_store(make_store: OpenStore) -> AsyncIterator[OpenStore]:
    """As `make_store`; what it made is closed after the test."""
    opened: list[Store] = []

    def make_closed_later(retention: Retention | None = None) -> Store:
        opened.append(make_store(retention))
        return opened[-1]

    yield make_closed_later
    if opened and isinstance(opened[0], ClockedRedisStore):
        # Listing counters scans all keys of the server, so what one test leaves behind slows the others.
        await opened[0].forget_everything()
    for store in opened:
        await store.aclose()


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[Store]:
    """One store, which must be able to explain its counters when the test is over."""
    store = open_store()
    yield store
    await audit(store)


@pytest.fixture
async def open_worker(open_store: OpenStore) -> AsyncIterator[OpenLedger]:
    """Opens a ledger of one worker over the counters of the test; each key has 1 USD a month."""
    opened: list[Ledger] = []

    def open_one() -> Ledger:
        opened.append(Ledger(open_store(), limits=parse_limits("key=1/month"), store_timeout_s=10))
        return opened[-1]

    yield open_one
    await audit(open_store())
    for ledger in opened:
        await ledger.drain()
