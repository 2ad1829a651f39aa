"""A gateway with the admin API in this process, over memory, and a client of each token."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from budget_middleware import BudgetMiddleware
from budget_middleware.testing import MovableClock
from tests.admin.admin_gateway import READ, WRITE, bearer
from tests.stores.clocked import put_on

OpenClient = Callable[..., httpx.AsyncClient]


class RecordingApp:
    """An app that answers `{}`, and keeps the scopes of what reached it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await JSONResponse({})(scope, receive, send)


@pytest.fixture(autouse=True)
def _on_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of the gateways in this process does not end in the middle of a test."""
    put_on(MovableClock(), monkeypatch)


@pytest.fixture
def served() -> RecordingApp:
    """What the gateway's app was asked."""
    return RecordingApp()


@pytest.fixture
async def gateway(served: RecordingApp) -> AsyncIterator[BudgetMiddleware]:
    guarded = BudgetMiddleware(served, admin_token=WRITE, admin_read_token=READ, limits="key=10/day")
    yield guarded
    await guarded.ledger.drain()


@pytest.fixture
async def open_client() -> AsyncIterator[OpenClient]:
    """Makes clients of an app, by a token if one is given."""
    async with AsyncExitStack() as stack:

        def make(app: Any, token: str = "", **options: Any) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False, **options)
            client = httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=bearer(token))
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
def writer(gateway: BudgetMiddleware, open_client: OpenClient) -> httpx.AsyncClient:
    return open_client(gateway, WRITE)


@pytest.fixture
def reader(gateway: BudgetMiddleware, open_client: OpenClient) -> httpx.AsyncClient:
    return open_client(gateway, READ)


@pytest.fixture
def stranger(gateway: BudgetMiddleware, open_client: OpenClient) -> httpx.AsyncClient:
    return open_client(gateway)
