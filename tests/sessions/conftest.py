"""A memory store whose counters must explain themselves when the test is over, and gateways that tests share."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple
from uuid import uuid4

import pytest

from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock
from tests.request.wire import PRICES
from tests.sessions.serving import SERVERS, TokensOf, served, tokens_read
from tests.stores.audit import audit


@pytest.fixture
def prices(price_file: Callable[[str], str]) -> str:
    return price_file(PRICES)


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore(clock_ms=MovableClock())
    yield store
    await audit(store)


class SharedGateway(NamedTuple):
    """Where a gateway listens, and the namespace of its ledger."""

    address: str
    namespace: str


@pytest.fixture(scope="module", params=SERVERS)
def shared_gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server_url: str
) -> Iterator[SharedGateway]:
    """The module's APP on each server, with its SETTINGS if any: all its tests share it, each with keys of its own."""
    folder, namespace = tmp_path_factory.mktemp("gateway"), f"sessions-{uuid4().hex[:8]}"
    settings: dict[str, str] = getattr(request.module, "SETTINGS", {})
    with served(
        request.module.APP, request.param, folder, store_url=server_url, namespace=namespace, **settings
    ) as gateway:
        yield SharedGateway(gateway.address, namespace)


@pytest.fixture
async def tokens_of_shared(server_url: str, shared_gateway: SharedGateway) -> AsyncIterator[TokensOf]:
    """What a key has spent and holds at the shared gateway, in tokens."""
    async with tokens_read(server_url, shared_gateway.namespace) as tokens_of:
        yield tokens_of


@pytest.fixture
async def tokens_of(server_url: str, namespace: str) -> AsyncIterator[TokensOf]:
    """What a key has spent and holds at the test's own gateway, in tokens."""
    async with tokens_read(server_url, namespace) as tokens_of:
        yield tokens_of
