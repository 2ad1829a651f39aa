"""Google's own client has live sessions through every server, and sees its budget refuse."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, live, types

from budget_middleware.core.model import Balance
from tests.sessions.live import live_without_tls

pytestmark = pytest.mark.processes

APP = "tests.sessions.live_gateway:app"
CONFIG = types.LiveConnectConfig(response_modalities=[types.Modality.TEXT], max_output_tokens=600)


@pytest.fixture
def gateway(shared_gateway) -> str:
    return f"http://{shared_gateway.address}"


@pytest.fixture(autouse=True)
def _without_tls() -> Iterator[None]:
    with live_without_tls():
        yield


def client_of(gateway: str, key: str = "sk-one", version: str = "v1beta") -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=gateway, api_version=version))


async def whole_turn(session: live.AsyncSession) -> list[Any]:
    """The messages of a turn, to its end."""
    messages: list[Any] = [message async for message in session.receive()]
    assert messages[-1].server_content.turn_complete
    return messages


def said(words: str) -> types.Content:
    return types.Content(role="user", parts=[types.Part(text=words)])


async def test_a_session(gateway, tokens_of_shared):
    async with client_of(gateway).aio.live.connect(model="plain", config=CONFIG) as session:
        await session.send_client_content(turns=said("one two three"))
        messages = await whole_turn(session)
        assert "".join(message.text or "" for message in messages) == "onetwothree"
        assert messages[-1].usage_metadata.response_token_count == 3
        assert await tokens_of_shared("sk-one") == Balance(spent=3)
        await session.send_realtime_input(audio=types.Blob(data=bytes(3_200), mime_type="audio/pcm;rate=16000"))
        await whole_turn(session)
        assert await tokens_of_shared("sk-one") == Balance(spent=6)
        # Now nothing covers another turn.
        await session.send_client_content(turns=said(" ".join(["word"] * 500)))
        await whole_turn(session)
        assert await tokens_of_shared("sk-one") == Balance(spent=506)
        await session.send_client_content(turns=said("one more"))
        with pytest.raises(errors.APIError) as refused:
            await whole_turn(session)
        assert (refused.value.code, await tokens_of_shared("sk-one")) == (1008, Balance(spent=506))
        assert "The budget of key:" in str(refused.value)


async def test_an_ephemeral_token_is_a_key_of_its_own(gateway, tokens_of_shared):
    key = "auth_tokens/0123456789abcdef"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with client_of(gateway, key, "v1alpha").aio.live.connect(model="plain", config=CONFIG) as session:
            await session.send_client_content(turns=said("one two"))
            await whole_turn(session)
    assert await tokens_of_shared(key) == Balance(spent=2)
