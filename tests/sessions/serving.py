"""A gateway of this directory on each server that speaks WebSockets, and what its keys have come to."""

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from budget_middleware.core.model import Balance
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.retention import Retention
from tests.e2e.servers import ServerProcess, free_port, server_process, wait_for_port

SERVERS = {
    "uvicorn, websockets": ["uvicorn", "--ws", "websockets-sansio", "--port"],
    "uvicorn, wsproto": ["uvicorn", "--ws", "wsproto", "--port"],
    "hypercorn": ["hypercorn", "--bind"],
    "granian": ["granian", "--interface", "asgi", "--port"],
}
TOKEN = 1_000_000

TokensOf = Callable[[str], Coroutine[Any, Any, Balance]]


class Served(NamedTuple):
    """Where a gateway listens, and its process."""

    address: str
    process: ServerProcess


@contextmanager
def served(
    app: str,
    server: str,
    tmp_path: Path,
    *,
    store_url: str,
    namespace: str,
    further: Sequence[str] = (),
    **settings: str,
) -> Iterator[Served]:
    """Serve an app under a limit of 1,000 tokens a key; ``further`` are more options of the server."""
    (tmp_path / "prices.toml").write_text("[models.plain]\ninput = 0\noutput = 1000\n")
    env = {
        "BUDGET_PRICES": str(tmp_path / "prices.toml"),
        "BUDGET_LIMITS": "key=1/day",
        "BUDGET_STORE_URL": store_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_ON_ABORT": "partial",
        **settings,
    }
    port, log = free_port(), tmp_path / "gateway.log"
    name, *options = SERVERS[server]
    options = [*further, *options]
    address = f"127.0.0.1:{port}" if name == "hypercorn" else str(port)
    with server_process([sys.executable, "-m", name, app, *options, address], env=env, log=log) as process:
        wait_for_port(port, process, log)
        yield Served(f"127.0.0.1:{port}", process)


@asynccontextmanager
async def tokens_read(store_url: str, namespace: str) -> AsyncIterator[TokensOf]:
    """What keys have spent and hold at a store, as long as the block lasts."""
    store = RedisStore(store_url, namespace=namespace, timeout_s=5, retention=Retention())
    yield tokens_in(store)
    await store.aclose()


def tokens_in(store: RedisStore, *, secret: str = "") -> TokensOf:
    """What a key has spent and holds, in tokens."""

    async def read(key: str) -> Balance:
        views = await store.counters(f"key:{key_id(key, secret=secret)}")
        return Balance(*(figure // TOKEN for figure in views[0].balance)) if views else Balance()

    return read
