"""Each provider's own client raises its own error at a rate, and tries again when the window has ended.

The clients call the guarded gateway in this process, on a clock that moves by what a client sleeps: a minute would be
too long for a test.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import anyio
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors, types

from budget_middleware import BudgetMiddleware
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock
from tests.sdk.conftest import PRICES
from tests.sdk.provider import MODEL, gateway

# Nothing listens there.
URL = "http://gateway.test"
MESSAGES: Any = [{"role": "user", "content": "x"}]
LEFT_S = 14


@pytest.fixture
def clock() -> MovableClock:
    """So many seconds before a minute ends."""
    clock = MovableClock()
    clock.advance(s=60 - LEFT_S)
    return clock


@pytest.fixture
def slept_s(monkeypatch: pytest.MonkeyPatch, clock: MovableClock) -> list[float]:
    """For how long clients have slept before they tried again."""
    slept: list[float] = []
    sleep = anyio.sleep

    async def sleep_by_the_clock(seconds: float) -> None:
        if seconds:
            slept.append(seconds)
            clock.advance(ms=round(seconds * 1000))
        await sleep(0)

    monkeypatch.setattr(anyio, "sleep", sleep_by_the_clock)
    return slept


@pytest.fixture
async def http(tmp_path: Path, clock: MovableClock) -> AsyncIterator[httpx2.AsyncClient]:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    guard = BudgetMiddleware(
        gateway,
        store=MemoryStore(clock_ms=clock),
        prices=str(prices),
        limits="key=1requests/minute; key=1000tokens/minute; key=1/day",
        exhausted_status="402",
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=guard)) as client:
        yield client
    await guard.ledger.drain()


async def test_openais(http: httpx2.AsyncClient, slept_s: list[float]):
    client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="sk-one", http_client=http, max_retries=2)
    asked: Any = {"model": MODEL, "input": "x", "max_output_tokens": 200}
    served = await client.responses.with_raw_response.create(**asked)
    assert served.headers["x-ratelimit-remaining-requests"] == "0"
    assert served.headers["x-ratelimit-remaining-tokens"] == "890"
    with pytest.raises(openai.RateLimitError) as refused:
        await client.with_options(max_retries=0).responses.create(**asked)
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "requests")
    assert not slept_s
    await client.responses.create(**asked)
    assert slept_s == [LEFT_S]


async def test_anthropics(http: httpx2.AsyncClient, slept_s: list[float]):
    client = anthropic.AsyncAnthropic(base_url=URL, api_key="sk-one", http_client=http, max_retries=2)
    asked: Any = {"model": MODEL, "messages": MESSAGES, "max_tokens": 200}
    served = await client.messages.with_raw_response.create(**asked)
    assert served.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert served.headers["anthropic-ratelimit-requests-reset"] == "2026-11-18T14:31:00Z"
    with pytest.raises(anthropic.RateLimitError, match="are used up; the next minute begins in 14 s"):
        await client.with_options(max_retries=0).messages.create(**asked)
    await client.messages.create(**asked)
    assert slept_s == [LEFT_S]


async def test_googles(http: httpx2.AsyncClient):
    options = types.HttpOptions(base_url=URL, httpx_async_client=http)
    client = genai.Client(api_key="sk-one", http_options=options)
    config = types.GenerateContentConfig(max_output_tokens=200)
    await client.aio.models.generate_content(model=MODEL, contents="x", config=config)
    with pytest.raises(errors.ClientError) as refused:
        await client.aio.models.generate_content(model=MODEL, contents="x", config=config)
    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
    details: Any = refused.value.details
    assert details["error"]["details"] == [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{LEFT_S}s"}
    ]
    client.close()


async def test_what_is_larger_than_the_limit_is_not_tried_again(http: httpx2.AsyncClient, slept_s: list[float]):
    client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="sk-one", http_client=http, max_retries=5)
    with pytest.raises(openai.RateLimitError) as refused:
        await client.responses.create(model=MODEL, input="x", max_output_tokens=2_000)
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "tokens")
    assert not slept_s
