"""Real uvicorn workers and the official client: what an SDK's user sees."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack

import openai
import pytest

from tests.e2e.servers import free_port, uvicorn_worker, wait_for_port

pytestmark = pytest.mark.processes

# 1 USD a million tokens: a request's estimate is its maximum of output tokens, in micro-dollars, and its input.
PRICES = '[models."test-model"]\ninput = 0\noutput = 1\n'
WORDS = 100
ACTUAL_USD = "0.0001"


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Iterator[list[str]]:
    """The base URLs of two workers over one real server."""
    folder = tmp_path_factory.mktemp("gateways")
    (folder / "prices.toml").write_text(PRICES)
    env = {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": f"openai-{folder.name}",
        "BUDGET_PRICES": str(folder / "prices.toml"),
        "BUDGET_LIMITS": "key=1/day",
        "BUDGET_STORE_TIMEOUT_S": "30",
        "SERVED_LOG": str(folder / "served"),
    }
    with ExitStack() as stack:
        ports = []
        for number in range(2):
            port, log = free_port(), folder / f"{number}.log"
            worker = uvicorn_worker("tests.e2e.worker:app", listen=["--port", str(port)], env=env, log=log)
            wait_for_port(port, stack.enter_context(worker), log)
            ports.append(port)
        yield [f"http://127.0.0.1:{port}/v1" for port in ports]


@pytest.fixture
async def client_of(gateways: list[str]) -> AsyncIterator[Callable[..., openai.AsyncOpenAI]]:
    """Makes clients of one of the workers."""
    async with AsyncExitStack() as stack:

        def make(key: str, *, worker: int = 0) -> openai.AsyncOpenAI:
            client = openai.AsyncOpenAI(base_url=gateways[worker], api_key=key, max_retries=4)
            stack.push_async_callback(client.close)
            return client

        yield make


def _arguments(*, play: str = "json", max_tokens: int = 600_000) -> dict:
    return {
        "model": "test-model",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": max_tokens,
        "extra_body": {"metadata": {"play": play, "words": WORDS, "prompt": 10, "pause": 0}},
    }


async def test_f05_the_next_request_never_sees_the_last_ones_hold_on_two_workers_in_turn(client_of):
    clients = [client_of("sk-in-turn", worker=worker) for worker in range(2)]
    left = []
    for turn in range(1_000):
        raw = await clients[turn % 2].chat.completions.with_raw_response.create(**_arguments())
        assert raw.headers["x-budget-cost-usd"] == ACTUAL_USD
        left.append(raw.headers["x-budget-remaining-usd"])
    # 0.6 was reserved each time, of a limit of 1 that 0.1 is spent of now.
    assert left[-1] == "0.90"


async def test_a_stream_is_the_one_that_was_asked_for(client_of):
    client = client_of("sk-stream")
    stream = await client.chat.completions.create(**_arguments(play="stream"), stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "word" * WORDS
    assert {chunk.usage for chunk in chunks} == {None}

    asked = {"stream": True, "stream_options": {"include_usage": True}}
    stream = await client.chat.completions.create(**_arguments(play="stream"), **asked)
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == WORDS

    raw = await client.chat.completions.with_raw_response.create(**_arguments())
    assert raw.headers["x-budget-remaining-usd"] == "0.9997", "both streams were booked with their usage"


async def test_a_spent_budget_raises_the_sdks_own_error_at_once(client_of):
    client = client_of("sk-spent")
    with pytest.raises(openai.RateLimitError) as refused:
        await client.chat.completions.create(**_arguments(max_tokens=1_000_001))
    assert refused.value.status_code == 429
    assert refused.value.code == "budget_exhausted"
    assert refused.value.type == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.value.response.headers
    assert "x-stainless-retry-count" in refused.value.request.headers
    assert refused.value.request.headers["x-stainless-retry-count"] == "0", "the SDK does not hammer"


async def test_a_held_budget_is_retried_by_the_sdk_and_then_served(client_of):
    client = client_of("sk-held")
    slow = _arguments(play="stream")
    slow["extra_body"]["metadata"] |= {"words": 20, "pause": 0.05}
    stream = await client.chat.completions.create(**slow, stream=True)
    await anext(aiter(stream))
    raw_answer = await client_of("sk-held", worker=1).chat.completions.with_raw_response.create(**_arguments())
    assert raw_answer.http_request.headers["x-stainless-retry-count"] != "0", "it was held at first"
    assert raw_answer.headers["x-budget-cost-usd"] == ACTUAL_USD
    assert [chunk async for chunk in stream]


async def test_hostile_numbers_are_a_bad_request(client_of):
    client = client_of("sk-hostile")
    with pytest.raises(openai.BadRequestError, match="max_tokens must be a whole number above 0"):
        await client.chat.completions.create(**_arguments(max_tokens=-100_000))
