"""Anthropic's own client."""

import anthropic
import pytest

from tests.sdk.provider import MODEL, TEXT

pytestmark = pytest.mark.processes

MESSAGES = [{"role": "user", "content": "x"}]


@pytest.fixture
async def client_of(gateway_url):
    made = []

    def make(key):
        made.append(anthropic.AsyncAnthropic(base_url=gateway_url, api_key=key, max_retries=4))
        return made[-1]

    yield make
    for client in made:
        await client.close()


async def test_a_message_books_its_usage(client_of, left_of):
    raw = await client_of("sk-ant").messages.with_raw_response.create(model=MODEL, messages=MESSAGES, max_tokens=600)
    assert (await raw.parse()).content[0].text == TEXT
    assert raw.headers["x-budget-cost-usd"] == "0.0001"
    assert left_of("sk-ant") == "0.9999"


async def test_a_streamed_message(client_of, left_of):
    async with client_of("sk-ant-stream").messages.stream(model=MODEL, messages=MESSAGES, max_tokens=600) as stream:
        assert "".join([text async for text in stream.text_stream]) == TEXT
        assert (await stream.get_final_message()).usage.output_tokens == 100
    assert left_of("sk-ant-stream") == "0.9999"


async def test_counting_tokens_is_free_even_where_the_budget_is_spent(client_of, left_of):
    client = client_of("sk-ant-count")
    with pytest.raises(anthropic.RateLimitError):
        await client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=1_000_001, timeout=60)
    counted = await client.messages.count_tokens(model=MODEL, messages=MESSAGES)
    assert counted.input_tokens == 10
    assert left_of("sk-ant-count") == "1.00"


async def test_a_spent_budget_raises_the_sdks_own_error_and_is_not_hammered(client_of, requests_of):
    client = client_of("sk-ant-spent")
    for _ in range(3):
        with pytest.raises(anthropic.RateLimitError) as refused:
            await client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=1_000_001, timeout=60)
        assert refused.value.status_code == 429
        body = refused.value.response.json()
        assert (body["type"], body["error"]["type"]) == ("error", "rate_limit_error")
        assert "limit $1.00" in body["error"]["message"]
    assert requests_of("sk-ant-spent") == 3


async def test_a_held_budget_is_retried_and_then_served(client_of, requests_of, left_of):
    client = client_of("sk-ant-held")
    arguments = {"model": MODEL, "messages": MESSAGES, "max_tokens": 600_000, "timeout": 60}
    slow = await client.messages.create(**arguments, stream=True, extra_headers={"x-play": "slow"})
    message = await client.messages.create(**arguments)
    assert message.content[0].text == TEXT
    assert [event async for event in slow]
    assert requests_of("sk-ant-held") > 2
    assert left_of("sk-ant-held") == "0.9998"


async def test_hostile_numbers_are_a_bad_request(client_of):
    with pytest.raises(anthropic.BadRequestError, match="max_tokens must be a whole number above 0"):
        await client_of("sk-ant-hostile").messages.create(model=MODEL, messages=MESSAGES, max_tokens=-1)


async def test_an_unknown_model_is_a_bad_request(client_of):
    with pytest.raises(anthropic.BadRequestError, match="has no price here"):
        await client_of("sk-ant-unknown").messages.create(model="nobodys", messages=MESSAGES, max_tokens=1)
