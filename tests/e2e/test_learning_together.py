"""Estimates that learn, as gateways have them by default: what one uvicorn worker learns another holds a beat later."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.e2e.servers import uvicorn_worker, wait_for_socket

pytestmark = pytest.mark.processes

PRICES = '[models."test-model"]\ninput = 0\noutput = 1000\n'
"""A tenth of a cent for each token of output."""
ASK = {
    "model": "test-model",
    "messages": [{"role": "user", "content": "count to ten, please"}],
    "metadata": {"play": "json", "words": 25, "prompt": 40},
}
PRIOR_TOKENS = 3 * 1_024


@pytest.fixture
def sockets(tmp_path: Path, server_url: str, namespace: str) -> Iterator[list[Path]]:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    env = {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(prices),
        "BUDGET_STORE_TIMEOUT_S": "30",
        # A heartbeat each tenth of a second. Empty is not set: the default.
        "BUDGET_LEASE_S": "0.3",
        "BUDGET_ESTIMATE": "",
    }
    with ExitStack() as stack:
        started = []
        for number in range(2):
            socket, log = tmp_path / f"{number}.sock", tmp_path / f"{number}.log"
            own = {**env, "SERVED_LOG": f"{tmp_path}/{number}.served"}
            worker = uvicorn_worker("tests.e2e.worker:app", listen=["--uds", str(socket)], env=own, log=log)
            started.append((socket, stack.enter_context(worker), log))
        for socket, process, log in started:
            wait_for_socket(socket, process, log)
        yield [socket for socket, _, _ in started]


async def held_tokens(worker: httpx.AsyncClient) -> float:
    """What a request held at a worker."""
    answer = await worker.post("/v1/chat/completions", json=ASK)
    assert answer.status_code == 200, answer.text
    return float(answer.headers["x-budget-estimate-usd"]) * 1_000


async def test_what_one_worker_learns_another_holds(sockets: list[Path]):
    one, other = (
        httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url="http://gateway",
            headers={"authorization": "Bearer sk-one"},
            timeout=60,
        )
        for socket in sockets
    )
    async with one, other, asyncio.timeout(60):
        assert await held_tokens(one) == PRIOR_TOKENS
        assert await held_tokens(other) == PRIOR_TOKENS
        *_, learned = [await held_tokens(one) for _ in range(60)]
        assert 25 <= learned < PRIOR_TOKENS / 2
        # The other has one answer of its own, and hears of these sixty at a heartbeat.
        while await held_tokens(other) > learned:
            await asyncio.sleep(0.05)
