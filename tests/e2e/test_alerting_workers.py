"""Real workers over a real server: of all of them exactly one tells that a threshold is reached."""

import asyncio
import random
import re
from collections import Counter as Tally
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from budget_middleware.core.accounts import key_id
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.stores.redis import RedisStore
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


@pytest.fixture
async def workers(tmp_path: Path, server_url: str, namespace: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    alerts = ",".join(map(str, PERCENTS))
    env = {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(prices),
        "BUDGET_LIMITS": "; ".join(f"key={usd}/{period}!soft!alert={alerts}" for period, usd in LIMITS.items()),
        "BUDGET_STORE_TIMEOUT_S": "30",
    }
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(WORKERS):
            socket, log = tmp_path / f"{number}.sock", tmp_path / f"{number}.log"
            worker = uvicorn_worker("tests.e2e.gated:app", listen=["--uds", str(socket)], env=env, log=log)
            wait_for_socket(socket, stack.enter_context(worker), log)
            transport = httpx.AsyncHTTPTransport(uds=str(socket))
            clients.append(httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=100))
            stack.push_async_callback(clients[-1].aclose)
            await clients[-1].get("/open")
        yield clients


async def test_each_threshold_is_told_once_in_all_workers(
    workers: list[httpx.AsyncClient], tmp_path: Path, server_url: str, namespace: str
):
    chance, at_once = random.Random(18), asyncio.Semaphore(AT_ONCE)
    asked = [(f"sk-{n % KEYS}", chance.randrange(1, 100), workers[n % WORKERS]) for n in range(REQUESTS)]

    async def ask(token: str, tokens: int, worker: httpx.AsyncClient) -> None:
        body = {
            "model": "talk",
            "user": "somebody",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "hello"}],
            "metadata": {"tokens": tokens},
        }
        headers = {"authorization": f"Bearer {token}"}
        async with at_once:
            answer = await worker.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200

    await asyncio.gather(*(ask(*each) for each in asked))
    logs = "".join((tmp_path / f"{number}.log").read_text() for number in range(WORKERS))
    spent: Tally[str] = Tally()
    for token, tokens, _ in asked:
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
    store = RedisStore(server_url, namespace=namespace, timeout_s=30)
    await audit(store)
    await store.aclose()
