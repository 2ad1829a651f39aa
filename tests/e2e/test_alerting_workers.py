"""Real workers over a real server: one of them tells that a threshold is reached, and a new mode binds on all."""

import asyncio
import random
import re
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import RunCli, cli, environment  # noqa: F401 - its commands serve here too
from tests.e2e.servers import uvicorn_worker, wait_for_socket
from tests.stores.audit import audit

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

# A thousandth of a dollar a token.
PRICES = '[models."talk"]\ninput = 0\noutput = 1000\n'
WORKERS, KEYS, REQUESTS, AT_ONCE = 2, 5, 250, 24
PERCENTS = (10, 25, 50, 75, 90, 100)
LIMITS = {"total": "2", "year": "1.50"}
"""By period: those that no test begins in one window and ends in another."""

ALERT = re.compile(r"alert: (\S+) has spent .* for (\S+) \S+, which is (\d+) % or more")


OpenWorkers = Callable[[str], Awaitable[list[httpx.AsyncClient]]]


@pytest.fixture
async def open_workers(tmp_path: Path, server_url: str, namespace: str) -> AsyncIterator[OpenWorkers]:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    env = {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(prices),
        "BUDGET_STORE_TIMEOUT_S": "30",
    }
    async with AsyncExitStack() as stack:

        async def open_all(limits: str) -> list[httpx.AsyncClient]:
            clients = []
            for number in range(WORKERS):
                socket, log = tmp_path / f"{number}.sock", tmp_path / f"{number}.log"
                own = {**env, "BUDGET_LIMITS": limits}
                worker = uvicorn_worker("tests.e2e.gated:app", listen=["--uds", str(socket)], env=own, log=log)
                wait_for_socket(socket, stack.enter_context(worker), log)
                transport = httpx.AsyncHTTPTransport(uds=str(socket))
                clients.append(httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=100))
                stack.push_async_callback(clients[-1].aclose)
                await clients[-1].get("/open")
            return clients

        yield open_all
    store = RedisStore(server_url, namespace=namespace, timeout_s=30)
    await audit(store)
    await store.aclose()


async def ask(worker: httpx.AsyncClient, token: str, tokens: int = 100) -> httpx.Response:
    """A request that holds ten cents, and comes to as many tenths of a cent as it is told."""
    body = {
        "model": "talk",
        "user": "somebody",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hello"}],
        "metadata": {"tokens": tokens},
    }
    return await worker.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {token}"})


async def test_each_threshold_is_told_once_in_all_workers(open_workers: OpenWorkers, tmp_path: Path):
    alerts = ",".join(map(str, PERCENTS))
    workers = await open_workers("; ".join(f"key={usd}/{period}!soft!alert={alerts}" for period, usd in LIMITS.items()))
    chance, at_once = random.Random(18), asyncio.Semaphore(AT_ONCE)
    asked = [(workers[n % WORKERS], f"sk-{n % KEYS}", chance.randrange(1, 100)) for n in range(REQUESTS)]

    async def ask_in_turn(worker: httpx.AsyncClient, token: str, tokens: int) -> None:
        async with at_once:
            assert (await ask(worker, token, tokens)).status_code == 200

    await asyncio.gather(*(ask_in_turn(*each) for each in asked))
    logs = "".join((tmp_path / f"{number}.log").read_text() for number in range(WORKERS))
    spent: Tally[str] = Tally()
    for _, token, tokens in asked:
        spent[f"key:{key_id(token)}"] += nanos_from_usd("0.001") * tokens
    expected = [
        (account, period, percent)
        for account, nanos in spent.items()
        for period, usd in LIMITS.items()
        for percent in PERCENTS
        if nanos * 100 >= nanos_from_usd(usd) * percent
    ]
    assert len(expected) > KEYS * len(PERCENTS), "too few were reached to prove much"
    told = [(account, period, int(percent)) for account, period, percent in ALERT.findall(logs)]
    assert sorted(told) == sorted(expected)


async def test_a_new_mode_binds_on_every_worker_at_its_next_request(open_workers: OpenWorkers, cli: RunCli):  # noqa: F811
    workers = await open_workers("key=0.30/total")
    key = f"key:{key_id('sk-one')}"

    async def asked_each() -> list[tuple[int, str | None]]:
        answers = [await ask(worker, "sk-one") for worker in workers]
        return [(answer.status_code, answer.headers.get("x-budget-warning")) for answer in answers]

    async def limit(*words: str) -> None:
        ran = await asyncio.to_thread(cli, "limit", *words)
        assert (ran.code, ran.err) == (0, "")

    for worker in (workers * 2)[:3]:
        assert (await ask(worker, "sk-one")).status_code == 200
    assert await asked_each() == [(429, None)] * 2
    await limit("set", key, "none/total", "0.30/total!shadow")
    assert await asked_each() == [(200, None)] * 2
    await limit("set", key, "none/total!shadow", "0.30/total!soft")
    assert await asked_each() == [
        (200, f"{key} $0.60 of $0.30/total (soft)"),
        (200, f"{key} $0.70 of $0.30/total (soft)"),
    ]
    await limit("clear", key)
    assert await asked_each() == [(429, None)] * 2
    (row,) = await _reported(cli, requests=2)
    assert (row["account"], row["mode"], row["limit_usd"], row["enough_usd"]) == (key, "shadow", "0.30", "0.50")


async def _reported(cli: RunCli, *, requests: int) -> list[dict[str, Any]]:  # noqa: F811
    """What `shadow` has once it has so many requests: each worker writes what it has to report within a second."""
    async with asyncio.timeout(60):
        while True:
            limits: list[dict[str, Any]] = cli("shadow", "--json").json["limits"]
            if sum(row["requests"] for row in limits) == requests:
                return limits
            await asyncio.sleep(0.05)
