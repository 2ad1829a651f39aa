"""OpenAI's own client at the APIs beside chat, which tests/e2e has."""

import openai
import pytest

from tests.sdk.provider import MODEL, TEXT

pytestmark = pytest.mark.processes

COST = "0.0001"
# So much of an image as tells its size.
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (1024).to_bytes(4) * 2


@pytest.fixture
async def client_of(gateway_url):
    made = []

    def make(key):
        made.append(openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key=key, max_retries=4))
        return made[-1]

    yield make
    for client in made:
        await client.close()


CALLS = {
    "completions": lambda client: client.completions.with_raw_response.create(model=MODEL, prompt="x", max_tokens=600),
    "responses": lambda client: client.responses.with_raw_response.create(
        model=MODEL, input="x", max_output_tokens=600
    ),
    "embeddings": lambda client: client.embeddings.with_raw_response.create(model=MODEL, input="x"),
    "images": lambda client: client.images.with_raw_response.generate(model=MODEL, prompt="x", quality="low"),
    "edits": lambda client: client.images.with_raw_response.edit(
        model=MODEL, image=("a.png", PNG), prompt="x", quality="low"
    ),
    "transcriptions": lambda client: client.audio.transcriptions.with_raw_response.create(
        model=MODEL, file=("a.wav", bytes(80_000))
    ),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_books_its_usage(name, client_of, left_of):
    raw = await CALLS[name](client_of(f"sk-{name}"))
    assert raw.parse() is not None
    assert raw.headers["x-budget-cost-usd"] == COST
    assert left_of(f"sk-{name}") == "0.9999"


async def test_speech_books_its_estimate_since_sound_tells_no_usage(client_of, left_of):
    speech = await client_of("sk-speech").audio.speech.create(model=MODEL, input="x" * 50, voice="alloy")
    assert speech.content.startswith(b"ID3")
    assert left_of("sk-speech") == "0.9999"


async def test_a_streamed_response(client_of, left_of):
    stream = await client_of("sk-stream").responses.create(model=MODEL, input="x", stream=True)
    kinds = {event.type: event async for event in stream}
    assert kinds["response.completed"].response.output_text == TEXT
    assert left_of("sk-stream") == "0.9999"


async def test_f16_polling_for_a_response_in_the_background_is_free(client_of, left_of):
    """It is held when it is created, at what it is estimated to cost, and booked by the first poll."""
    client = client_of("sk-background")
    queued = await client.responses.create(model=MODEL, input="x", max_output_tokens=600, background=True)
    assert queued.status == "queued"
    assert left_of("sk-background") == "0.9994"
    polled = [await client.responses.retrieve(queued.id) for _ in range(5)]
    assert {response.output_text for response in polled} == {TEXT}
    assert left_of("sk-background") == "0.9999"


async def test_moderations_are_free_even_where_the_budget_is_spent(client_of, requests_of, left_of):
    client = client_of("sk-moderations")
    with pytest.raises(openai.RateLimitError):
        await client.responses.create(model=MODEL, input="x", max_output_tokens=1_000_001)
    await client.moderations.create(input="x")
    assert left_of("sk-moderations") == "1.00"


TOO_DEAR = {
    "responses": lambda client: client.responses.create(model=MODEL, input="x", max_output_tokens=1_000_001),
    "completions": lambda client: client.completions.create(model=MODEL, prompt="x", max_tokens=600_000, best_of=2),
    "images": lambda client: client.images.generate(model="dear-model", prompt="x", n=10),
    "speech": lambda client: client.audio.speech.create(model=MODEL, input="x" * 500_001, voice="alloy"),
    "transcriptions": lambda client: client.audio.transcriptions.create(model="dear-model", file=("a", bytes(900_000))),
}


@pytest.mark.parametrize("name", TOO_DEAR)
async def test_a_spent_budget_raises_the_sdks_own_error_and_is_not_hammered(name, client_of, requests_of):
    client = client_of(f"sk-spent-{name}")
    for _ in range(3):
        with pytest.raises(openai.RateLimitError) as refused:
            await TOO_DEAR[name](client)
        assert (refused.value.status_code, refused.value.code) == (429, "budget_exhausted")
        assert refused.value.type == "insufficient_quota"
    assert requests_of(f"sk-spent-{name}") == 3


async def test_a_held_budget_is_retried_and_then_served(client_of, requests_of, left_of):
    client = client_of("sk-held")
    slow = await client.responses.create(
        model=MODEL, input="x", max_output_tokens=600_000, stream=True, extra_headers={"x-play": "slow"}
    )
    raw = await client.responses.with_raw_response.create(model=MODEL, input="x", max_output_tokens=600_000)
    assert raw.headers["x-budget-cost-usd"] == COST
    assert [event async for event in slow]
    assert requests_of("sk-held") > 2
    assert left_of("sk-held") == "0.9998"


async def test_hostile_numbers_are_a_bad_request(client_of):
    with pytest.raises(openai.BadRequestError, match="max_output_tokens must be a whole number above 0"):
        await client_of("sk-hostile").responses.create(model=MODEL, input="x", max_output_tokens=-1)
