"""OpenAI's own client has responses on a WebSocket of every server, and sees its budget refuse."""

import asyncio
import sys
from collections.abc import AsyncIterator

import openai
import pytest

from budget_middleware.core.accounts import key_id
from budget_middleware.core.model import Balance
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.retention import Retention
from tests.e2e.servers import free_port, server_process, wait_for_port

pytestmark = pytest.mark.processes

APP = "tests.sessions.responses_gateway:app"
SERVERS = {
    "uvicorn, websockets": ["uvicorn", APP, "--ws", "websockets-sansio", "--port"],
    "uvicorn, wsproto": ["uvicorn", APP, "--ws", "wsproto", "--port"],
    "hypercorn": ["hypercorn", APP, "--bind"],
    "granian": ["granian", APP, "--interface", "asgi", "--port"],
}
TOKEN = 1_000_000


@pytest.fixture(params=SERVERS)
def gateway(request, tmp_path, server_url, namespace):
    (tmp_path / "prices.toml").write_text("[models.plain]\ninput = 0\noutput = 1000\n")
    env = {
        "BUDGET_PRICES": str(tmp_path / "prices.toml"),
        "BUDGET_LIMITS": "key=1/day",
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_ON_ABORT": "partial",
    }
    port, log = free_port(), tmp_path / "gateway.log"
    name, *options = SERVERS[request.param]
    address = f"127.0.0.1:{port}" if name == "hypercorn" else str(port)
    with server_process([sys.executable, "-m", name, *options, address], env=env, log=log) as process:
        wait_for_port(port, process, log)
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
async def client(gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=gateway, api_key="sk-one") as client:
        yield client


@pytest.fixture
async def tokens_of_key(server_url, namespace):
    store = RedisStore(server_url, namespace=namespace, timeout_s=5, retention=Retention())

    async def read() -> Balance:
        views = await store.counters(f"key:{key_id('sk-one')}")
        return Balance(*(figure // TOKEN for figure in views[0].balance)) if views else Balance()

    yield read
    await store.aclose()


async def next_of(connection, kind):
    async for event in connection:
        if event.type == kind:
            return event
    raise AssertionError(f"the session ended before {kind}")


async def test_responses_are_booked_and_refused(client, tokens_of_key):
    async with client.responses.connect() as connection:
        await connection.response.create(model="plain", input="a b c", max_output_tokens=600)
        await next_of(connection, "response.completed")
        assert await tokens_of_key() == Balance(spent=3)

        await connection.response.create(model="plain", input="a b c", max_output_tokens=1_000)
        refused = await next_of(connection, "error")
        assert (refused.status, refused.error.code) == (429, "budget_exhausted")

        await connection.response.create(model="plain", input="a b", max_output_tokens=100, stream_id="left")
        assert (await next_of(connection, "response.completed")).stream_id == "left"
        assert await tokens_of_key() == Balance(spent=5)

        # Its end never comes, and the client leaves.
        await connection.response.create(model="plain", input="a b c d", max_output_tokens=600, store=False)
        await next_of(connection, "response.created")
        assert await tokens_of_key() == Balance(spent=5, reserved=600)
        for _ in range(4):
            await next_of(connection, "response.output_text.delta")
    async with asyncio.timeout(30):
        while (await tokens_of_key()).reserved:
            await asyncio.sleep(0.01)
    assert await tokens_of_key() == Balance(spent=9)


async def test_a_handshake_is_refused_with_an_answer(gateway):
    async with openai.AsyncOpenAI(base_url=gateway, api_key="sk-one sk-two") as client:
        with pytest.raises(Exception, match=r"HTTP 40[03]"):
            async with client.responses.connect():
                pass
