"""Whose price an answer is booked at: M18 to M23."""

import pytest

from budget_middleware.testing import ScriptedApp, call, event_stream
from tests.request.wire import KEY, bearer, completion, usage_event

OWN = """
[models.prod-chat]
input = 1
output = 2
[models.local-gpt-oss]
input = 0
output = 0
"""


@pytest.fixture
def prices(price_file):
    return price_file(OWN)


CASES = [
    # asked, answered, tokens of input and output, USD
    pytest.param(("prod-chat", "gpt-4o-2024-08-06", (1_000_000, 0), "1.00"), id="m19"),
    pytest.param(("local-gpt-oss", "openai/gpt-oss-120b", (1_000_000, 0), "0.00"), id="m20"),
    pytest.param(("groq/openai/gpt-oss-120b", "openai/gpt-oss-120b", (1_000_000, 1_000_000), "0.75"), id="m22"),
    pytest.param(
        (
            "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "claude-sonnet-4-5-20250929",
            (100_000, 0),
            "0.33",
        ),
        id="m23",
    ),
    pytest.param(("azure/eu/gpt-4o", "gpt-4o-2024-08-06", (100_000, 0), "0.275"), id="a region stays"),
    pytest.param(("gpt-4o", "gpt-4o-2024-05-13", (100_000, 0), "0.50"), id="a dearer version"),
    pytest.param(("openrouter/deepseek/deepseek-r1:free", "deepseek/deepseek-r1:free", (10_000, 10), "0.00"), id="m21"),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("case", CASES)
async def test_whose_price_is_booked(memory, prices, case, streamed):
    asked, answered, (n_in, n_out), usd = case
    script = (
        event_stream({"model": answered, "choices": []}, usage_event(n_out, n_in, model=answered), "[DONE]")
        if streamed
        else completion(n_out, model=answered, usage={"prompt_tokens": n_in, "completion_tokens": n_out})
    )
    guard = memory.guard(ScriptedApp(*script), prices=prices, limits="key=100/month")
    body = {"model": asked, "max_tokens": 10, "stream": streamed, "messages": [{"role": "user", "content": "hi"}]}
    answer = await call(guard, body, path="/v1/chat/completions", headers=bearer())
    assert answer.status == 200
    await guard.ledger.drain()
    assert (await memory.figures(KEY))[0] == usd


async def test_m18_a_bare_name_of_an_embedding_is_served_under_a_limit(memory):
    script = completion(
        0, model="text-embedding-3-small", usage={"prompt_tokens": 1_000_000, "total_tokens": 1_000_000}
    )
    guard = memory.guard(ScriptedApp(*script), limits="key=100/month")
    body = {"model": "text-embedding-3-small", "input": "hi"}
    answer = await call(guard, body, path="/v1/embeddings", headers=bearer())
    assert answer.status == 200
    await guard.ledger.drain()
    assert (await memory.figures(KEY))[0] == "0.02"


@pytest.mark.parametrize("answered", ["changing", "gateway/Changing", "changing-2026-01-01"])
async def test_a_price_that_changes_while_a_request_runs_does_not_change_its_bill(memory, answered):
    """The source is asked anew each minute; a request is billed by the minute of its estimate."""
    usd = iter(["0.000001", "0.000009"])

    def source(model):
        return {"input_cost_per_token": 0.0, "output_cost_per_token": float(next(usd))} if model == "changing" else None

    now = [60.0]
    scripted = ScriptedApp(*completion(1_000, model=answered))

    async def takes_ten_minutes(scope, receive, send):
        now[0] += 600
        await scripted(scope, receive, send)

    guard = memory.guard(takes_ten_minutes, price_source=source, limits="key=100/month")
    guard.ledger.prices._clock = lambda: now[0]
    body = {"model": "changing", "max_tokens": 10, "messages": []}
    answer = await call(guard, body, path="/v1/chat/completions", headers=bearer())
    assert answer.headers["x-budget-cost-usd"] == "0.001"
    # The next one pays the new price.
    answer = await call(guard, body, path="/v1/chat/completions", headers=bearer())
    assert answer.headers["x-budget-cost-usd"] == "0.009"
