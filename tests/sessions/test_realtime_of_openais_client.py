"""OpenAI's own client talks to every server, is heard ahead of its answers, and sees its budget refuse."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from uuid import uuid4

import openai
import pytest
from openai.lib.azure import AsyncAzureOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from budget_middleware.core.model import Balance
from tests.sessions.realtime import listening

pytestmark = pytest.mark.processes

APP = "tests.sessions.realtime_gateway:app"
SETTINGS = {"BUDGET_ESTIMATE": "expected", "BUDGET_DEFAULT_OUTPUT_TOKENS": "200"}


@pytest.fixture
def gateway(shared_gateway) -> str:
    return shared_gateway.address


@pytest.fixture
def key() -> str:
    return f"sk-{uuid4().hex[:8]}"


@pytest.fixture
async def client(gateway, key) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"http://{gateway}/v1", api_key=key) as client:
        yield client


@pytest.fixture
def tokens_of_key(tokens_of_shared, key):
    return partial(tokens_of_shared, key)


async def next_of(connection, kind):
    async for event in connection:
        if event.type == kind:
            return event
    raise AssertionError(f"the session ended before {kind}")


async def test_responses_are_booked_cancelled_and_refused(client, tokens_of_key):
    async with client.realtime.connect(model="plain") as connection:
        await connection.session.update(session=listening(None))
        await next_of(connection, "session.updated")
        await connection.response.create(response={"instructions": "a b c", "max_output_tokens": 600})
        await next_of(connection, "response.done")
        assert await tokens_of_key() == Balance(spent=3)

        await connection.response.create(response={"max_output_tokens": 1_000}, event_id="mine")
        refused = await next_of(connection, "error")
        assert (refused.error.code, refused.error.event_id) == ("budget_exhausted", "mine")

        await connection.response.create(response={"instructions": "a …", "max_output_tokens": 600})
        await next_of(connection, "response.output_text.delta")
        assert await tokens_of_key() == Balance(spent=3, reserved=600)
        await connection.response.cancel()
        assert (await next_of(connection, "response.done")).response.status == "cancelled"
        assert await tokens_of_key() == Balance(spent=5)

        # Its end never comes, and the client leaves.
        await connection.response.create(response={"instructions": "a b c …", "max_output_tokens": 600})
        for _ in range(4):
            await next_of(connection, "response.output_text.delta")
    async with asyncio.timeout(30):
        while (await tokens_of_key()).reserved:
            await asyncio.sleep(0.01)
    assert await tokens_of_key() == Balance(spent=9)


async def test_sound_is_held_ahead_and_withheld_when_nothing_is_left(client, tokens_of_key):
    async with client.realtime.connect(model="plain") as connection:
        for _ in range(3):
            await connection.input_audio_buffer.append(audio="AAAA")
        await next_of(connection, "response.done")
        # What is left does not pay for another answer to sound.
        await connection.response.create(response={"instructions": "word " * 900, "max_output_tokens": 950})
        await next_of(connection, "response.done")
        assert await tokens_of_key() == Balance(spent=902)
        for _ in range(3):
            await connection.input_audio_buffer.append(audio="AAAA")
        assert (await next_of(connection, "error")).error.code == "budget_exhausted"
        await connection.response.create(response={"instructions": "a", "max_output_tokens": 50})
        await next_of(connection, "response.done")
        assert await tokens_of_key() == Balance(spent=903)


async def test_keys_and_models_are_read_where_clients_have_them(gateway, tokens_of_shared):
    azure = AsyncAzureOpenAI(
        azure_endpoint=f"http://{gateway}",
        websocket_base_url=f"ws://{gateway}/openai",
        api_key="sk-azure",
        api_version="2025-04-01-preview",
    )
    async with azure, azure.realtime.connect(model="plain") as connection:
        await connection.response.create(response={"instructions": "a b", "max_output_tokens": 600})
        await next_of(connection, "response.done")
    assert await tokens_of_shared("sk-azure") == Balance(spent=2)
    create = '{"type": "response.create", "response": {"instructions": "a b c", "max_output_tokens": 600}}'
    protocols = [Subprotocol("realtime"), Subprotocol("openai-insecure-api-key.sk-browser")]
    async with connect(f"ws://{gateway}/v1/realtime?model=plain", subprotocols=protocols) as socket:
        await socket.send(create)
        async for message in socket:
            if "response.done" in str(message):
                break
    assert await tokens_of_shared("sk-browser") == Balance(spent=3)
    async with connect(f"ws://{gateway}/openai/realtime?deployment=plain&api-key=sk-query") as socket:
        await socket.send(create.encode())
        async for message in socket:
            if "response.done" in str(message):
                break
    assert await tokens_of_shared("sk-query") == Balance(spent=3)


async def test_a_handshake_with_two_keys_is_refused(gateway):
    protocols = [Subprotocol("realtime"), Subprotocol("openai-insecure-api-key.sk-browser")]
    url = f"ws://{gateway}/v1/realtime?model=plain&api-key=sk-other"
    with pytest.raises(InvalidStatus, match=r"HTTP 40[03]"):
        async with connect(url, subprotocols=protocols):
            pass
