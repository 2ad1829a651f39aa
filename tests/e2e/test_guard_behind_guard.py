"""Two real gateways, one behind the other, over one real store: each call is booked once."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from budget_middleware.core.money import usd_from_nanos
from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import uvicorn_worker, wait_for_socket

pytestmark = pytest.mark.processes

CALLS = 50
# 2 tokens at $1,000 a million are .002; one of them is asked for, so that both guards together hold no more than that.
PRICES = '[models."test-model"]\ninput = 0\noutput = 1000\n'
BODY = {"model": "test-model", "max_tokens": 1, "messages": []}


@pytest.fixture
def outer(tmp_path: Path, server_url: str, namespace: str) -> Iterator[Path]:
    """The socket of the gateway that clients call."""
    (tmp_path / "prices.toml").write_text(PRICES)
    env = {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(tmp_path / "prices.toml"),
        "BUDGET_LIMITS": "key=0.10/total",
        "BUDGET_HASH_SECRET": "secret",
        "BUDGET_STORE_TIMEOUT_S": "30",
    }
    with ExitStack() as stack:
        upstream, socket = "", tmp_path
        for name in ("inner", "outer"):
            socket, log = tmp_path / f"{name}.sock", tmp_path / f"{name}.log"
            worker = uvicorn_worker(
                "tests.e2e.chained:app", listen=["--uds", str(socket)], env={**env, "CHAIN_UPSTREAM": upstream}, log=log
            )
            wait_for_socket(socket, stack.enter_context(worker), log)
            upstream = str(socket)
        yield socket


@pytest.mark.parametrize("streams", [False, True])
async def test_f61_two_gateways_on_one_ledger_book_each_call_once(
    outer: Path, server_url: str, namespace: str, streams: bool
):
    headers = {"authorization": "Bearer sk-one"}
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(outer)), timeout=60) as client:
        answers = [
            await client.post("http://outer/v1/chat/completions", json={**BODY, "stream": streams}, headers=headers)
            for _ in range(CALLS + 1)
        ]
    assert [answer.status_code for answer in answers] == [200] * CALLS + [429], answers[-1].text
    assert all(len(answer.headers.get_list("x-budget-reservation-id")) == 1 for answer in answers)
    store = RedisStore(server_url, namespace=namespace, timeout_s=30)
    (view,) = await store.counters()
    await store.aclose()
    assert (usd_from_nanos(view.balance.spent), view.balance.reserved) == ("0.10", 0)
