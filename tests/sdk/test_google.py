"""Google's own client, which retries nothing unless it is told to, and then whatever the status allows."""

import asyncio

import pytest
from google import genai
from google.genai import errors, types

from tests.sdk.provider import MODEL, TEXT

pytestmark = pytest.mark.processes


@pytest.fixture
async def client_of(gateway_url):
    made = []

    def make(key, retry_options=None):
        options = types.HttpOptions(base_url=gateway_url, retry_options=retry_options)
        made.append(genai.Client(api_key=key, http_options=options))
        return made[-1].aio.models

    yield make
    for client in made:
        await client.aio.aclose()
        client.close()


def config(max_output_tokens, **headers):
    return types.GenerateContentConfig(
        max_output_tokens=max_output_tokens, http_options=types.HttpOptions(headers=headers) if headers else None
    )


async def test_content_books_its_usage(client_of, left_of):
    answer = await client_of("goog").generate_content(model=MODEL, contents="x", config=config(600))
    assert answer.text == TEXT
    assert answer.sdk_http_response.headers["x-budget-cost-usd"] == "0.0001"
    assert left_of("goog") == "0.9999"


@pytest.mark.filterwarnings("ignore:The generate_images method is deprecated")
async def test_pictures_book_those_that_came(gateway_url, left_of):
    options = types.HttpOptions(base_url=gateway_url)
    client = genai.Client(vertexai=True, api_key="goog-pictures", http_options=options).aio
    three = types.GenerateImagesConfig(number_of_images=3)
    drawn = await client.models.generate_images(model="painter", prompt="x", config=three)
    assert sum(bool(image.image_bytes) for image in drawn.images) == 2
    assert left_of("goog-pictures") == "0.92"
    with pytest.raises(errors.ClientError) as refused:
        await client.models.generate_images(
            model="painter", prompt="x", config=types.GenerateImagesConfig(number_of_images=24)
        )
    assert (refused.value.code, left_of("goog-pictures")) == (429, "0.92")
    await client.aclose()


async def test_streamed_content(client_of, left_of):
    stream = await client_of("goog-stream").generate_content_stream(model=MODEL, contents="x", config=config(600))
    assert "".join([chunk.text or "" async for chunk in stream]) == TEXT
    assert left_of("goog-stream") == "0.9999"


async def test_counting_tokens_is_free(client_of, left_of):
    assert (await client_of("goog-count").count_tokens(model=MODEL, contents="x")).total_tokens == 10
    assert left_of("goog-count") == "1.00"


async def test_a_spent_budget_raises_the_sdks_own_error_and_is_not_hammered(client_of, requests_of):
    client = client_of("goog-spent")
    for _ in range(3):
        with pytest.raises(errors.ClientError) as refused:
            await client.generate_content(model=MODEL, contents="x", config=config(1_000_001))
        assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
        assert "limit $1.00" in str(refused.value)
    assert requests_of("goog-spent") == 3


async def test_a_held_budget_is_retried_where_the_client_is_told_to(client_of, requests_of, left_of):
    client = client_of("goog-held", types.HttpRetryOptions(attempts=5, initial_delay=0.5))
    slow = await client.generate_content_stream(model=MODEL, contents="x", config=config(600_000, **{"x-play": "slow"}))
    assert (await anext(slow)).text == TEXT
    reading = asyncio.create_task(_read(slow))
    answer = await client.generate_content(model=MODEL, contents="x", config=config(600_000))
    assert answer.text == TEXT
    assert await reading == ""
    assert requests_of("goog-held") > 2
    assert left_of("goog-held") == "0.9998"


async def test_hostile_numbers_are_a_bad_request(client_of):
    with pytest.raises(errors.ClientError, match="maxOutputTokens must be a whole number") as refused:
        await client_of("goog-hostile").generate_content(model=MODEL, contents="x", config=config(-1))
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")


async def _read(stream):
    return "".join([chunk.text or "" async for chunk in stream])
