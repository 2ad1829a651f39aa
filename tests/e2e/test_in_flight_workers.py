"""Real workers over a real server share the places of a limit of requests in flight, and none of them gets lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from budget_middleware.core.units import Unit
from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import ServerProcess, uvicorn_worker, wait_for_socket
from tests.stores.audit import audit

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

PRICES = '[models."talk"]\ninput = 0\noutput = 1\n'
PLACES = 2


class Worker:
    """One uvicorn process as its clients see it."""

    def __init__(self, client: httpx.AsyncClient, process: ServerProcess) -> None:
        self.process = process
        self._client = client

    def ask(self, user: str) -> "asyncio.Task[int]":
        """The status of one request's answer."""
        return asyncio.create_task(self._ask(user))

    async def _ask(self, user: str) -> int:
        body = {"model": "talk", "user": user, "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
        headers = {"authorization": "Bearer sk-one"}
        return (await self._client.post("/v1/chat/completions", json=body, headers=headers)).status_code

    async def open(self) -> None:
        await self._client.get("/open")

    async def shows(self, figure: str) -> int:
        shown: int = (await self._client.get("/running")).json()[figure]
        return shown

    async def has(self, **figures: int) -> None:
        """Come back once it shows these figures."""
        async with asyncio.timeout(60):
            while not figures.items() <= (await self._client.get("/running")).json().items():
                await asyncio.sleep(0.02)


@pytest.fixture
async def workers(tmp_path: Path, server_url: str, namespace: str) -> AsyncIterator[list[Worker]]:
    (tmp_path / "prices.toml").write_text(PRICES)
    env = {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(tmp_path / "prices.toml"),
        "BUDGET_LIMITS": f"key={PLACES}inflight; key=1/day",
        "BUDGET_STORE_TIMEOUT_S": "30",
        "BUDGET_WAIT_S": "100",
        "BUDGET_LEASE_S": "2",
    }
    async with AsyncExitStack() as stack:
        started = []
        for number in range(2):
            socket, log = tmp_path / f"{number}.sock", tmp_path / f"{number}.log"
            worker = uvicorn_worker("tests.e2e.in_flight:app", listen=["--uds", str(socket)], env=env, log=log)
            started.append((socket, stack.enter_context(worker), log))
        opened = []
        for socket, process, log in started:
            wait_for_socket(socket, process, log)
            transport = httpx.AsyncHTTPTransport(uds=str(socket))
            client = httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=100)
            stack.push_async_callback(client.aclose)
            opened.append(Worker(client, process))
        yield opened


@pytest.fixture
async def store(server_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(server_url, namespace=namespace, timeout_s=30)
    yield store
    await audit(store)
    await store.aclose()


async def in_flight(store: RedisStore) -> int:
    """How many the store shows."""
    return sum([view.balance.reserved for view in await store.counters() if view.counter.unit is Unit.INFLIGHT])


async def test_no_more_run_than_there_are_places_and_each_place_comes_back(workers: list[Worker], store: RedisStore):
    one, other = workers
    first, second = one.ask("a"), other.ask("b")
    await one.has(running=1)
    await other.has(running=1)
    third, fourth = one.ask("c"), other.ask("d")
    await one.has(waiting=1, running=1)
    await other.has(waiting=1, running=1)
    assert await in_flight(store) == PLACES

    # Clients leave: whoever is next runs in their place, in whichever worker.
    first.cancel()
    await _until(workers, running=PLACES, waiting=1)
    assert await in_flight(store) == PLACES
    second.cancel()
    await _until(workers, running=PLACES, waiting=0)

    # An app that fails gives its place back.
    third.cancel()
    await _until(workers, running=1, waiting=0)
    assert await one.ask("fails") == await one.ask("fails") == 500
    fifth = other.ask("e")
    await _until(workers, running=PLACES, waiting=0)
    assert await in_flight(store) == PLACES

    # A worker dies with what it has; when its leases are over, the other has all places.
    died = await other.shows("running")
    other.process.kill()
    other.process.wait()
    more = [one.ask(f"after-{number}") for number in range(died)]
    await one.has(running=PLACES, waiting=0)
    assert await in_flight(store) == PLACES
    await one.open()
    assert await asyncio.gather(*more) == [200] * died
    assert await asyncio.gather(*[one.ask(f"last-{number}") for number in range(3 * PLACES)]) == [200] * 3 * PLACES
    await asyncio.gather(fourth, fifth, return_exceptions=True)
    assert await in_flight(store) == 0


async def _until(workers: list[Worker], **figures: int) -> None:
    """Come back once the workers together show these figures."""
    async with asyncio.timeout(60):
        while figures != {name: sum([await worker.shows(name) for worker in workers]) for name in figures}:
            await asyncio.sleep(0.02)
