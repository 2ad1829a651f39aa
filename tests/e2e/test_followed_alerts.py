"""Real workers over a real server, and a receiver over HTTP: each threshold is told, also where a worker is killed."""

import asyncio
import random
from collections import Counter as Tally
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from budget_middleware.alerts.board import FOLLOWER, KEEP_MS
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.stores.redis import RedisStore
from tests.alerts.receiver import ReceiverServer, receiving
from tests.cli.conftest import RunCli, cli, environment  # noqa: F401 - its commands serve here too
from tests.e2e.servers import ServerProcess, uvicorn_worker, wait_for_socket
from tests.e2e.test_alerting_workers import ask

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

PRICES = '[models."talk"]\ninput = 0\noutput = 1000\n'
KEYS, REQUESTS, AT_ONCE, PERCENTS = 4, 80, 12, (25, 50, 100)


@pytest.fixture
async def receiver() -> AsyncIterator[ReceiverServer]:
    async with receiving() as server:
        yield server


@pytest.fixture
async def store(server_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(server_url, namespace=namespace, timeout_s=30)
    yield opened
    await opened.aclose()


async def until(condition) -> None:
    async with asyncio.timeout(90):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_thresholds_are_told_though_the_worker_that_tells_is_killed(
    tmp_path: Path,
    server_url: str,
    namespace: str,
    *,
    receiver: ReceiverServer,
    store: RedisStore,
    cli: RunCli,  # noqa: F811
):
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    env = {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(prices),
        "BUDGET_STORE_TIMEOUT_S": "30",
        "BUDGET_LIMITS": "key=2/total!soft",
        "BUDGET_ALERTS": f"{receiver.url}; thresholds=25,50,100; forecast=off; audit=off",
    }

    async def has_lease() -> bool:
        return '"owner":""' not in (lease := (await store.texts(FOLLOWER)).get("lease", '"owner":""')) and bool(lease)

    async with AsyncExitStack() as stack:
        clients: list[httpx.AsyncClient] = []
        processes: list[ServerProcess] = []
        for number in range(2):
            socket, log = tmp_path / f"{number}.sock", tmp_path / f"{number}.log"
            worker = uvicorn_worker("tests.e2e.gated:app", listen=["--uds", str(socket)], env=env, log=log)
            processes.append(stack.enter_context(worker))
            wait_for_socket(socket, processes[-1], log)
            transport = httpx.AsyncHTTPTransport(uds=str(socket))
            clients.append(httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=100))
            stack.push_async_callback(clients[-1].aclose)
            await clients[-1].get("/open")
            # The first has it: the other one starts later.
            await until(has_lease)
        spent: Tally[str] = Tally()
        chance, at_once = random.Random(21), asyncio.Semaphore(AT_ONCE)

        async def ask_in_turn(worker: httpx.AsyncClient, number: int) -> None:
            tokens = chance.randrange(1, 100)
            async with at_once:
                answer = await ask(worker, f"sk-{number % KEYS}", tokens)
            assert answer.status_code == 200
            spent[f"key:{key_id(f'sk-{number % KEYS}')}"] += nanos_from_usd("0.001") * tokens

        await asyncio.gather(*(ask_in_turn(clients[n % 2], n) for n in range(REQUESTS // 2)))
        processes[0].kill()
        # Its lease is over at once: nobody waits for the fifteen seconds.
        lease = (await store.texts(FOLLOWER))["lease"]
        await store.swap_text(FOLLOWER, "lease", before=lease, after='{"owner":"","until_ms":0}', keep_ms=KEEP_MS)
        await asyncio.gather(*(ask_in_turn(clients[1], n) for n in range(REQUESTS)))
        # An operator's charge, which no worker sees.
        operated = f"key:{key_id('sk-operator')}"
        ran = await asyncio.to_thread(cli, "adjust", operated, "1.5", "--reason", "x", "--new", **env)
        assert (ran.code, ran.err) == (0, "")
        spent[operated] += nanos_from_usd("1.5")
        expected = {
            (account, str(percent))
            for account, nanos in spent.items()
            for percent in PERCENTS
            if nanos * 100 >= nanos_from_usd("2") * percent
        }
        assert len(expected) > 2 * KEYS, "too few were reached to prove much"

        async def has_all() -> bool:
            return {(body["account"], body["facts"]["percent"]) for body in bodies()} >= expected

        def bodies():
            return [taken.json for taken in receiver.taken if taken.json["rule"] == "spent"]

        await until(has_all)
        assert {(body["account"], body["facts"]["percent"]) for body in bodies()} == expected
        ids = {body["id"] for body in bodies()}
        assert len(ids) == len(expected)
        # Twice at most what the killed worker was sending.
        assert len(bodies()) <= len(ids) + 1
        ran = await asyncio.to_thread(cli, "alerts", "--json", **env)
        assert {alert["id"] for alert in ran.json["alerts"]} >= ids
