"""OpenAI's own client has responses on a WebSocket of every server, and sees its budget refuse."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import openai
import pytest

from budget_middleware.core.model import Balance

pytestmark = pytest.mark.processes

APP = "tests.sessions.responses_gateway:app"


@pytest.fixture
def gateway(shared_gateway) -> str:
    return f"http://{shared_gateway.address}/v1"


@pytest.fixture
async def client(gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=gateway, api_key="sk-one") as client:
        yield client


@pytest.fixture
def tokens_of_key(tokens_of_shared):
    return partial(tokens_of_shared, "sk-one")


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
