"""llama-cpp-python's server with our line in front of a model of random weights, which a script here writes."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import openai
import pytest

from tests.gateways.running import HERE, PYTHON, Books, account_of, running


@pytest.fixture(scope="module")
def gateway(books: Books, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("llama")
    subprocess.run([PYTHON, HERE / "llama_model.py", folder / "model.gguf"], check=True)
    env = {
        **books.env,
        "MODEL": str(folder / "model.gguf"),
        "MODEL_ALIAS": "tiny",
        "BUDGET_LIMITS": "key=1/day",
        # A tenth of a cent for a token of input, a cent for one of output.
        "BUDGET_UNKNOWN_MODEL": "1000/10000",
    }
    with running("llama_gateway:app", env=env, log=folder / "log") as address:
        yield address


@pytest.fixture
async def client(gateway: str, token: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key=token, max_retries=0) as client:
        yield client


pytestmark = pytest.mark.llama_cpp


async def ask(client, **more):
    question = {"role": "user", "content": "two words"}
    return await client.chat.completions.create(model="tiny", messages=[question], **{"max_tokens": 5, **more})


async def test_a_whole_answer_is_booked_by_its_usage(client, books, token):
    usage = (await ask(client)).usage
    cost_usd = usage.prompt_tokens * Decimal("0.001") + usage.completion_tokens * Decimal("0.01")
    spent, reserved = await books.of(account_of(token))
    assert (Decimal(spent), reserved) == (cost_usd, "0.00")
    assert (await books.last_entry(account_of(token))).reason == "usage"


async def test_a_stream_has_no_usage_and_is_booked_by_what_was_seen(client, books, token):
    chunks = [chunk async for chunk in await ask(client, stream=True, stream_options={"include_usage": True})]
    assert not any(chunk.usage for chunk in chunks)
    spent, reserved = await books.of(account_of(token))
    assert reserved == "0.00"
    assert Decimal("0.01") < Decimal(spent) <= Decimal("0.06")
    assert (await books.last_entry(account_of(token))).reason == "estimated_complete"


async def test_a_spent_budget(client):
    with pytest.raises(openai.RateLimitError) as refused:
        await ask(client, max_tokens=101)
    assert refused.value.code == "budget_exhausted"
