"""Real workers over one file, without a server: one is killed, and every counter is what was really served."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from budget_middleware.stores.sql.sqlite_store import SqliteStore
from tests.e2e.servers import ServerProcess, uvicorn_worker, wait_for_socket
from tests.stores.audit import audit

pytestmark = pytest.mark.processes

N_WORKERS = 3
AT_ONCE = 24
# Prices at which every token counts whole nano-dollars, and a limit for a part of the requests only.
NANOS = 40 * 3_000 + 25 * 7_000
LIMITED_TO = 60


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/budget.db"


@pytest.fixture
def workers(tmp_path: Path, url: str) -> Iterator[list[tuple[Path, ServerProcess]]]:
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."test-model"]\ninput = 3\noutput = 7\n')
    env = {
        "BUDGET_STORE_URL": url,
        "BUDGET_PRICES": str(prices),
        "BUDGET_LIMITS": f"key={LIMITED_TO * NANOS / 1e9:.9f}/total; global=100000/month",
        # The machine serves its workers and their clients: what is slow must not count as a store away.
        "BUDGET_STORE_TIMEOUT_S": "30",
        "BUDGET_LEASE_S": "10",
    }
    with ExitStack() as stack:
        started = []
        for number in range(N_WORKERS):
            socket, log = tmp_path / f"{number}.sock", tmp_path / f"{number}.log"
            own = {"SERVED_LOG": f"{tmp_path}/{number}.served"}
            worker = uvicorn_worker("tests.e2e.worker:app", listen=["--uds", str(socket)], env={**env, **own}, log=log)
            started.append((socket, stack.enter_context(worker), log))
        for socket, process, log in started:
            wait_for_socket(socket, process, log)
        yield [(socket, process) for socket, process, _ in started]


def request(key: int) -> dict[str, Any]:
    return {
        "headers": {"authorization": f"Bearer sk-{key}"},
        "json": {
            "model": "test-model",
            "messages": [{"role": "user", "content": "count to ten, please"}],
            "max_tokens": 64,
            "metadata": {"play": "json", "words": 25, "prompt": 40},
        },
    }


@pytest.mark.proves("I4", "I6")
async def test_a_worker_is_killed_and_the_others_stay_within_the_limit(workers, url: str):
    """Three keys want more than each may have; the first worker is killed when a third of all has been asked."""
    numbers = iter(range(3 * LIMITED_TO + 60))
    statuses: list[int] = []

    async def ask_on(clients: list[httpx.AsyncClient]) -> None:
        for number in numbers:
            if number == LIMITED_TO:
                workers[0][1].kill()
            at = number % N_WORKERS if number < LIMITED_TO else 1 + number % (N_WORKERS - 1)
            try:
                answer = await clients[at].post("/v1/chat/completions", **request(number % 3))
            except httpx.TransportError:
                assert at == 0, "only the killed one leaves its clients"
            else:
                statuses.append(answer.status_code)

    async with AsyncExitStack() as stack:
        transports = [httpx.AsyncHTTPTransport(uds=str(socket)) for socket, _ in workers]
        opened = [httpx.AsyncClient(transport=each, base_url="http://gateway", timeout=60) for each in transports]
        clients = [await stack.enter_async_context(client) for client in opened]
        await asyncio.gather(*(ask_on(clients) for _ in range(AT_ONCE)))
    store = SqliteStore(url, timeout_s=30)
    served = statuses.count(200)
    spent = {view.counter.account: view.balance.spent for view in await store.counters()}
    of_keys = sum(nanos for account, nanos in spent.items() if account != "global")
    assert set(statuses) <= {200, 429}
    assert spent["global"] == of_keys
    # The killed one may have served and booked, and told nobody.
    assert served * NANOS <= of_keys <= (served + AT_ONCE) * NANOS
    assert all(nanos <= LIMITED_TO * NANOS for account, nanos in spent.items() if account != "global")
    for entry in await store.latest(count=100_000):
        assert entry.limit is None or entry.spent + entry.reserved <= entry.limit
    await audit(store)
    assert await store.quick_check() == []
    await store.aclose()
