"""Real workers over a real server: who waits in one of them is woken by what ends in another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import redis.asyncio

from budget_middleware.core.model import Balance
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.stores.redis import RedisStore
from tests.e2e.gated import TOKENS
from tests.e2e.servers import uvicorn_worker, wait_for_socket
from tests.gateways.running import running
from tests.stores.audit import audit
from tests.stores.verbs import whole_journal

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

# A thousandth of a dollar a token: each request holds, and comes to, ten cents of the limit.
PRICES = '[models."talk"]\ninput = 0\noutput = 1000\n'
LIMIT = "0.25"

OpenWorker = Callable[..., "Worker"]


class Worker:
    """One uvicorn process as its clients see it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, user: str, *, tokens: int = TOKENS, **headers: str) -> httpx.Response:
        body = {
            "model": "talk",
            "user": user,
            "max_tokens": TOKENS,
            "messages": [{"role": "user", "content": "hello"}],
            "metadata": {"tokens": tokens},
        }
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"authorization": "Bearer sk-one", **named}
        return await self._client.post("/v1/chat/completions", json=body, headers=headers)

    async def open(self) -> None:
        """Let its app answer, now and from now on."""
        await self._client.get("/open")

    async def served(self) -> list[str]:
        """Whose requests its app was given, in this order."""
        return (await self._client.get("/waiting")).json()["served"]

    async def has(self, *, waiting: int, served: int | None = None) -> None:
        """Come back once so many wait for budget there, and its app has been given so many."""
        async with asyncio.timeout(60):
            while True:
                told = (await self._client.get("/waiting")).json()
                if told["waiting"] == waiting and served in (None, len(told["served"])):
                    return
                await asyncio.sleep(0.02)


@pytest.fixture
def settings(tmp_path: Path, server_url: str, namespace: str) -> dict[str, str]:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    return {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(prices),
        "BUDGET_LIMITS": f"key={LIMIT}/day",
        "BUDGET_STORE_TIMEOUT_S": "30",
        "BUDGET_WAIT_S": "100",
        "BUDGET_PRIORITY": "header:x-priority",
        "RETRY_S": "3600",
    }


@pytest.fixture
async def open_workers(settings: dict[str, str], tmp_path: Path) -> AsyncIterator[Callable[..., list[Worker]]]:
    async with AsyncExitStack() as stack:

        def open_all(count: int = 2, **others: str) -> list[Worker]:
            started = []
            for number in range(count):
                socket, log = tmp_path / f"{number}.sock", tmp_path / f"{number}.log"
                worker = uvicorn_worker(
                    "tests.e2e.gated:app", listen=["--uds", str(socket)], env={**settings, **others}, log=log
                )
                started.append((socket, stack.enter_context(worker), log))
            for socket, process, log in started:
                wait_for_socket(socket, process, log)
            return [Worker(_client(stack, socket)) for socket, _, _ in started]

        yield open_all


def _client(stack: AsyncExitStack, socket: Path) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    client = httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=100)
    stack.push_async_callback(client.aclose)
    return client


@pytest.fixture
async def store(server_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(server_url, namespace=namespace, timeout_s=30)
    yield store
    await audit(store)
    await store.aclose()


async def _nothing_is_reserved(store: RedisStore, *, spent: str) -> None:
    (view,) = await store.counters()
    assert view.balance == Balance(nanos_from_usd(spent), 0)


@pytest.mark.proves("I6")
async def test_an_ending_in_one_worker_wakes_who_waits_in_another(
    open_workers: Callable[..., list[Worker]], store: RedisStore
):
    one, other = open_workers()
    await other.open()
    async with asyncio.TaskGroup() as group:
        first = [group.create_task(one.ask(f"first {number}", tokens=50)) for number in range(2)]
        await one.has(waiting=0, served=2)
        # By arrival, but for the one of a higher priority.
        waiting = []
        for number, priority in enumerate(("0", "-1", "0", "nonsense", "7")):
            waiting.append(group.create_task(other.ask(str(number), tokens=1, x_priority=priority)))
            await other.has(waiting=number + 1)
        assert await other.served() == []
        await one.open()
    assert [answer.result().status_code for answer in first + waiting] == [200] * 7
    assert await other.served() == ["4", "0", "2", "1", "3"]
    await _nothing_is_reserved(store, spent="0.105")


async def test_who_waits_gets_in_without_a_subscription(
    open_workers: Callable[..., list[Worker]], store: RedisStore, server_url: str
):
    one, other = open_workers(RETRY_S="0.2")
    await other.open()
    async with asyncio.TaskGroup() as group, redis.asyncio.Redis.from_url(server_url) as client:
        for number in range(2):
            group.create_task(one.ask(f"first {number}", tokens=50))
        await one.has(waiting=0, served=2)
        waiting = group.create_task(other.ask("waits"))
        await other.has(waiting=1)
        async with asyncio.timeout(60):
            while await client.client_kill_filter(_type="pubsub") == 0:
                await asyncio.sleep(0.02)
        await one.open()
    assert waiting.result().status_code == 200
    await _nothing_is_reserved(store, spent="0.20")


async def test_who_leaves_gives_up_or_finds_all_spent_holds_nothing(
    open_workers: Callable[..., list[Worker]], store: RedisStore
):
    one, other = open_workers()
    async with asyncio.TaskGroup() as group:
        for number in range(2):
            group.create_task(one.ask(f"first {number}"))
        await one.has(waiting=0, served=2)
        leaves = group.create_task(other.ask("leaves"))
        await other.has(waiting=1)
        leaves.cancel()
        await other.has(waiting=0)
        answer = await other.ask("gives up", x_budget_wait_s="0.2")
        assert answer.status_code == 429
        assert answer.headers["x-should-retry"] == "true"
        assert answer.json()["error"]["code"] == "budget_held"
        # What is left once the first two have ended is too little.
        spent = group.create_task(other.ask("spent"))
        await other.has(waiting=1)
        await one.open()
    assert spent.result().status_code == 429
    assert spent.result().headers["x-should-retry"] == "false"
    assert spent.result().json()["error"]["code"] == "budget_exhausted"
    assert await other.served() == []
    await _nothing_is_reserved(store, spent="0.20")


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
async def test_other_servers_tell_who_leaves_while_it_waits(
    settings: dict[str, str], tmp_path: Path, store: RedisStore, server: str
):
    with running("tests.e2e.gated:app", server=server, env=settings, log=tmp_path / "log") as address:
        async with httpx.AsyncClient(base_url=address, timeout=100) as client, asyncio.TaskGroup() as group:
            worker = Worker(client)
            for number in range(2):
                group.create_task(worker.ask(f"first {number}", tokens=50))
            await worker.has(waiting=0, served=2)
            leaves = group.create_task(worker.ask("leaves"))
            await worker.has(waiting=1)
            leaves.cancel()
            await worker.has(waiting=0)
            waits = group.create_task(worker.ask("waits", tokens=50))
            await worker.has(waiting=1)
            await worker.open()
            assert (await waits).status_code == 200
            assert "leaves" not in await worker.served()
    await _nothing_is_reserved(store, spent="0.15")


@pytest.mark.proves("I6", "I7")
async def test_nobody_is_admitted_beyond_the_limit(open_workers: Callable[..., list[Worker]], store: RedisStore):
    """Sixty requests of which two fit at a time, and all of which cost little in the end."""
    workers = open_workers()
    for worker in workers:
        await worker.open()
    answers = await asyncio.gather(*[workers[number % 2].ask(str(number), tokens=1) for number in range(60)])
    assert [answer.status_code for answer in answers] == [200] * 60
    limit = nanos_from_usd(LIMIT)
    assert max(entry.spent + entry.reserved for entry in await whole_journal(store)) <= limit
    await _nothing_is_reserved(store, spent="0.06")
