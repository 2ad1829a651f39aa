"""Google's own client and the interactions of models and agents: whole, streamed, in the background, and refused."""

from typing import Any

import pytest
from google import genai
from google.genai import _interactions_errors as errors
from google.genai import types

from tests.sdk.provider import MODEL, TEXT

pytestmark = pytest.mark.processes


@pytest.fixture
async def interactions_of(gateway_url):
    made = []

    def make(key):
        made.append(genai.Client(api_key=key, http_options=types.HttpOptions(base_url=gateway_url)))
        return made[-1].aio.interactions

    yield make
    for client in made:
        await client.aio.aclose()
        client.close()


def asked(max_output_tokens=600, **fields) -> dict[str, Any]:
    return {"model": MODEL, "input": "x", "generation_config": {"max_output_tokens": max_output_tokens}, **fields}


async def test_an_interaction_books_its_usage(interactions_of, left_of):
    answer = await interactions_of("inter").create(**asked())
    assert answer.output_text == TEXT
    assert left_of("inter") == "0.9999"


async def test_a_streamed_one(interactions_of, left_of):
    stream = await interactions_of("inter-stream").create(**asked(stream=True))
    assert "".join([event.delta.text async for event in stream if event.event_type == "step.delta"]) == TEXT
    assert left_of("inter-stream") == "0.9999"


async def test_one_in_the_background_is_held_until_it_is_asked_for(interactions_of, left_of):
    client = interactions_of("inter-job")
    begun = await client.create(**asked(background=True))
    assert begun.status == "in_progress"
    assert left_of("inter-job") == "0.9994"
    for _ in range(2):
        assert (await client.get(begun.id)).status == "completed"
        assert left_of("inter-job") == "0.9999"
    begun = await client.create(**asked(background=True))
    await client.cancel(begun.id)
    assert left_of("inter-job") == "0.9998"


async def test_an_agent_without_a_price_is_refused(interactions_of, left_of):
    with pytest.raises(errors.BadRequestError) as refused:
        await interactions_of("inter-agent").create(agent="somebodys-own", input="x", background=True)
    assert "somebodys-own" in str(refused.value)
    assert left_of("inter-agent") == "1.00"


async def test_a_spent_budget_raises_the_sdks_own_error(interactions_of, left_of):
    with pytest.raises(errors.RateLimitError) as refused:
        await interactions_of("inter-spent").create(**asked(1_000_001))
    assert "did not match" not in str(refused.value.__cause__)
    assert "limit $1.00" in str(refused.value)
    assert left_of("inter-spent") == "1.00"
