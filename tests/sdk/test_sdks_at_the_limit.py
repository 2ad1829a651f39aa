"""With BUDGET_ON_LIMIT=stop each provider's own client raises its own error in the midst of a stream."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors, types

from tests.e2e.servers import free_port, uvicorn_worker, wait_for_port
from tests.sdk.conftest import PRICES
from tests.sdk.provider import MODEL

pytestmark = pytest.mark.processes

MESSAGES: Any = [{"role": "user", "content": "x"}]
SAYS = "The budget of key per day is used up by this answer"


@pytest.fixture(scope="module")
def endless_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("endless") / "gateway.log"


@pytest.fixture(scope="module")
def endless_url(endless_log: Path) -> Iterator[str]:
    """A gateway that holds 100 tokens of a limit of 120, and whose answers have no end."""
    prices = endless_log.with_name("prices.toml")
    prices.write_text(PRICES)
    env = {
        "BUDGET_PRICES": str(prices),
        "BUDGET_LIMITS": "key=0.00012/day",
        "BUDGET_STORE_URL": "memory://",
        "BUDGET_ON_LIMIT": "stop",
        "BUDGET_ESTIMATE": "learned",
        "BUDGET_ESTIMATE_SPREAD": "0",
        "BUDGET_DEFAULT_OUTPUT_TOKENS": "100",
    }
    port = free_port()
    worker = uvicorn_worker("tests.sdk.endless:app", listen=["--port", str(port)], env=env, log=endless_log)
    with worker as process:
        wait_for_port(port, process, endless_log)
        yield f"http://127.0.0.1:{port}"


async def chat(url: str) -> tuple[int, str]:
    words = 0
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-chat", max_retries=4) as client:
        with pytest.raises(openai.APIError) as stopped:  # noqa: PT012 - it is stopped in its midst
            async for _ in await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True):
                words += 1
        assert (stopped.value.code, stopped.value.type) == ("budget_exhausted", "insufficient_quota")
        return words, stopped.value.message


async def responses(url: str) -> tuple[int, str]:
    words = 0
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-responses", max_retries=4) as client:
        with pytest.raises(openai.APIError) as stopped:  # noqa: PT012 - it is stopped in its midst
            async for event in await client.responses.create(model=MODEL, input="x", stream=True):
                words += event.type == "response.output_text.delta"
        assert stopped.value.code == "budget_exhausted"
        return words, stopped.value.message


async def messages(url: str) -> tuple[int, str]:
    words = 0
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-messages", max_retries=4) as client:
        with pytest.raises(anthropic.APIStatusError) as stopped:  # noqa: PT012 - it is stopped in its midst
            async with client.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=9_000) as stream:
                async for _ in stream.text_stream:
                    words += 1
        body: Any = stopped.value.body
        assert body["error"]["type"] == "rate_limit_error"
        return words, str(stopped.value)


async def gemini(url: str) -> tuple[int, str]:
    words = 0
    client = genai.Client(api_key="sk-gemini", http_options=types.HttpOptions(base_url=url))
    with pytest.raises(errors.APIError) as stopped:  # noqa: PT012 - it is stopped in its midst
        async for _ in await client.aio.models.generate_content_stream(
            model=MODEL, contents="x", config=types.GenerateContentConfig(response_modalities=["TEXT"])
        ):
            words += 1
    await client.aio.aclose()
    client.close()
    assert (stopped.value.code, stopped.value.status) == (429, "RESOURCE_EXHAUSTED")
    return words, str(stopped.value)


CLIENTS = {"chat": chat, "responses": responses, "messages": messages, "gemini": gemini}


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_client_raises_its_own_error_where_its_budget_ends(name: str, endless_url: str, endless_log: Path):
    words, message = await CLIENTS[name](endless_url)
    assert SAYS in message
    # What crossed is paid for, and so the client gets it.
    assert words == 101
    async with httpx.AsyncClient() as client, asyncio.timeout(30):
        # The upstream ends too: each look gives the worker a turn.
        while name not in (await client.get(f"{endless_url}/closed")).json():
            await asyncio.sleep(0.01)
    # Nothing of it is an error of the server.
    assert "Traceback" not in endless_log.read_text()  # noqa: ASYNC240 - a short file, and nothing else to run
