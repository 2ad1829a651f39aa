"""Gemini's interactions: models and agents, whole, streamed and in the background; what is held, and what is booked."""

import pytest

from budget_middleware.testing import ScriptedApp, call, client_gone, event, json_answer
from tests.request.wire import DONE, KEY, LAST, STREAM_START

PATH = "/v1beta/interactions"
ASK = {"model": "plain", "input": "x", "generation_config": {"max_output_tokens": 600}}
AGENT_PRICES = """
[models.plain]
input = 0
output = 1000
[models.scout]  # An agent: a dollar for 2 million tokens of input, and nothing else.
input = 0.5
output = 0
[models.deep-research-of-ours]
input = 0
output = 0.001
web_search = 0.01
"""


@pytest.fixture
def prices(price_file):
    return price_file(AGENT_PRICES)


def used(output_tokens, **counts):
    totals = {"total_input_tokens": 9, "total_output_tokens": output_tokens, "total_tokens": 9 + output_tokens}
    return {**totals, **counts}


def interaction(status="completed", output_tokens=None, **fields):
    usage = {"usage": used(output_tokens)} if output_tokens is not None else {}
    steps = [{"type": "model_output", "content": [{"type": "text", "text": "hello"}]}]
    plain = {"id": "v1_abc", "object": "interaction", "model": "plain", "status": status, "steps": steps}
    return {**plain, **usage, **fields}


def key(token="sk-one"):
    return {"x-goog-api-key": token}


async def ask(bench, answer, body=ASK, *, path=PATH, leaves_after=None, **settings):
    app = ScriptedApp(*answer) if isinstance(answer, list) else ScriptedApp(*json_answer(answer))
    settings.setdefault("limits", "key=5/month")
    played = await call(bench.guard(app, **settings), body, path=path, headers=key(), leaves_after=leaves_after)
    await bench.settle()
    return played


async def look(bench, answer, *, path=f"{PATH}/v1_abc", method="GET", token="sk-one", status=200):
    app = ScriptedApp(*answer) if isinstance(answer, list) else ScriptedApp(*json_answer(answer, status=status))
    played = await call(bench.guard(app, limits="key=5/month"), path=path, method=method, headers=key(token))
    await bench.settle()
    return played


async def test_an_interaction_is_booked_by_its_usage(bench):
    assert (await ask(bench, interaction(output_tokens=100))).status == 200
    assert await bench.figures() == ("0.10", "0.00")


async def test_thoughts_stand_beside_the_output(bench):
    usage = used(100, total_thought_tokens=50, total_tokens=159)
    await ask(bench, interaction(usage=usage))
    assert await bench.figures() == ("0.15", "0.00")


async def test_a_stream_is_booked_by_the_usage_of_its_end(bench):
    begun = event({"event_type": "interaction.created", "interaction": {"id": "v1_abc", "status": "in_progress"}})
    pieces = [event({"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "word"}})] * 3
    stop = event({"event_type": "step.stop", "index": 0, "usage": used(90)})
    last = event({"event_type": "interaction.completed", "interaction": interaction(output_tokens=100)})
    await ask(bench, [STREAM_START, begun, *pieces, stop, last, DONE, LAST], {**ASK, "stream": True})
    assert await bench.figures() == ("0.10", "0.00")


async def test_whoever_leaves_a_stream_pays_what_came(bench):
    pieces = [event({"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "word"}})] * 3
    begun = event({"event_type": "interaction.created", "interaction": {"id": "v1_abc", "status": "in_progress"}})
    await ask(bench, [STREAM_START, begun, *pieces, client_gone], {**ASK, "stream": True}, leaves_after=5)
    assert await bench.figures() == ("0.003", "0.00")


async def test_a_stream_without_a_usage_is_booked_by_its_text(bench):
    piece = event({"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "word"}})
    last = event({"event_type": "interaction.completed", "interaction": {"id": "v1_abc", "status": "completed"}})
    await ask(bench, [STREAM_START, piece, piece, last, LAST], {**ASK, "stream": True})
    assert await bench.figures() == ("0.002", "0.00")


async def test_an_image_without_a_usage_is_booked_as_estimated(bench):
    drawn = [{"type": "model_output", "content": [{"type": "image", "data": "AAAA", "mime_type": "image/png"}]}]
    await ask(bench, interaction(steps=drawn))
    assert await bench.figures() == ("0.60", "0.00")


@pytest.mark.parametrize("in_camel_case", [False, True])
async def test_the_largest_maximum_counts_however_it_is_spelled(bench, in_camel_case):
    name = "generationConfig" if in_camel_case else "generation_config"
    other = "generation_config" if in_camel_case else "generationConfig"
    body = {"model": "plain", "input": "x", name: {"maxOutputTokens": 1}, other: {"max_output_tokens": "6000"}}
    assert (await ask(bench, interaction(output_tokens=100), body, estimate="expected")).status == 429
    assert await bench.figures() == ("0.00", "0.00")


async def test_a_model_and_an_agent_are_held_at_the_more_expensive(bench):
    body = {**ASK, "model": "scout", "agent": "plain"}
    assert (await ask(bench, interaction(), body, limits="key=0.4/month")).status == 429
    body = {"agent": "scout", "agent_config": {"model": "plain"}, "input": "x"}
    assert (await ask(bench, interaction(), body, limits="key=0.6/month")).status == 429


@pytest.mark.parametrize(
    "body", [{"agent": "my-own"}, {"agent": {"name": "scout"}}, {"agent": "scout", "model": "new"}]
)
async def test_whoever_is_not_known_is_refused(bench, body):
    played = await ask(bench, interaction(output_tokens=100), {**body, "input": "x"}, limits="key=99/month")
    assert (played.status, played.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert await bench.figures() == ("0.00", "0.00")


async def test_a_spent_budget_is_googles_error(bench):
    played = await ask(bench, interaction(), limits="key=0.1/month", estimate="expected")
    assert (played.status, played.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


# In the background.

BACKGROUND = {**ASK, "background": True}


async def create(bench, answer=None, body=None, **settings):
    played = await ask(bench, answer or interaction("in_progress", steps=[]), body or BACKGROUND, **settings)
    assert played.status == 200
    assert await bench.figures() == ("0.00", "0.60")


@pytest.mark.parametrize("status", ["in_progress", "queued"])
async def test_in_the_background_it_is_held_until_its_usage_is_seen_and_booked_once(bench, status):
    await create(bench, interaction(status, 5))
    await look(bench, interaction("in_progress", 5))
    assert await bench.figures() == ("0.00", "0.60")
    for _ in range(2):
        await look(bench, interaction(output_tokens=100), token="sk-two")
        assert await bench.figures() == ("0.10", "0.00")
    assert await bench.accounts() == {KEY}


async def test_a_cancellation_shows_what_was_used(bench):
    await create(bench)
    await look(bench, interaction("cancelled", 50), path=f"{PATH}/v1_abc/cancel", method="POST")
    assert await bench.figures() == ("0.05", "0.00")


async def test_leaving_a_stream_of_the_background_saves_nothing(bench):
    begun = event({"event_type": "interaction.created", "interaction": {"id": "v1_abc", "status": "in_progress"}})
    piece = event({"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "word"}})
    body = {**BACKGROUND, "stream": True}
    await ask(bench, [STREAM_START, begun, piece, client_gone], body, leaves_after=3)
    assert await bench.figures() == ("0.00", "0.60")
    # Resumed, and left again before its end.
    stop = event({"event_type": "step.stop", "index": 0, "usage": used(9)})
    await look(bench, [STREAM_START, begun, piece, stop, LAST])
    assert await bench.figures() == ("0.00", "0.60")
    last = event({"event_type": "interaction.completed", "interaction": interaction(output_tokens=100)})
    await look(bench, [STREAM_START, begun, piece, stop, last, DONE, LAST])
    assert await bench.figures() == ("0.10", "0.00")


async def test_a_field_mask_does_not_reach_the_app(bench):
    await create(bench)
    app = ScriptedApp(*json_answer(interaction(output_tokens=100)))
    guard = bench.guard(app, limits="key=5/month")
    await call(guard, path=f"{PATH}/v1_abc", method="GET", headers=key(), scope={"query_string": b"fields=id&a=b"})
    assert app.scopes[0]["query_string"] == b"a=b"


@pytest.mark.parametrize(
    ("status", "booked"), [("failed", "0.00"), ("completed", "0.00")], ids=["failed", "without a usage"]
)
async def test_one_that_shows_no_usage(bench, status, booked):
    await create(bench)
    await look(bench, interaction(status, steps=[]))
    held = "0.00" if status == "failed" else "0.60"
    assert await bench.figures() == (booked, held)


async def test_a_strangers_error_changes_nothing(bench):
    await create(bench)
    await look(bench, interaction(output_tokens=100), status=403)
    await look(bench, interaction(output_tokens=100, id="v1_other"), path=f"{PATH}/v1_other")
    assert await bench.figures() == ("0.00", "0.60")


async def test_an_agent_is_held_at_what_a_run_comes_to_and_booked_by_all_that_it_used(bench):
    agents = {"id": "v1_abc", "agent": "scout", "status": "in_progress"}
    body = {"agent": "scout", "input": "x", "background": True}
    assert (await ask(bench, agents, body)).status == 200
    # Half of 900,000 tokens come from a cache, which is not cheaper here.
    assert float((await bench.figures())[1]) == pytest.approx(0.45, rel=1e-4)
    done = {**agents, "status": "completed", "usage": {"total_input_tokens": 2_000_000, "total_output_tokens": 1}}
    await look(bench, done)
    assert await bench.figures() == ("1.00", "0.00")


async def test_an_agent_that_nobody_sells_by_its_name_is_booked_at_what_was_asked(bench):
    body = {"agent": "scout", "input": "x", "background": True}
    await ask(bench, {"id": "v1_abc", "agent": "scout", "status": "queued"}, body)
    usage = {"total_input_tokens": 1_000_000, "total_output_tokens": 1}
    await look(bench, {"id": "v1_abc", "agent": "agents/7", "status": "completed", "usage": usage})
    assert await bench.figures() == ("0.50", "0.00")


async def test_searches_are_held_and_booked(bench):
    body = {"agent": "deep-research-of-ours", "input": "x", "background": True}
    await ask(bench, {"id": "v1_abc", "status": "in_progress"}, body)
    assert float((await bench.figures())[1]) == pytest.approx(0.8, abs=0.001)
    counted = used(1, grounding_tool_count=[{"type": "google_search", "count": 30}])
    await look(bench, interaction(usage=counted, model="deep-research-of-ours"))
    assert float((await bench.figures())[0]) == pytest.approx(0.3)


async def test_somebody_elses_interactions_are_no_call(bench):
    played = await ask(bench, {"type": 1}, {"type": 1, "token": "x"}, path="/discord/interactions")
    assert (played.status, await bench.figures()) == (200, ("0.00", "0.00"))


# Decisions.

QUESTIONS = {"q": {"type": "choice", "instructions": "?", "criteria": {"a": "b"}}}


@pytest.mark.parametrize("model", ["plain", "models/plain"])
async def test_a_decision_is_booked_by_its_usage(bench, model):
    body = {"model": model, "input": "x", "questions": QUESTIONS}
    await ask(bench, {"answers": {"q": {"choice": "a"}}, "usage": used(100)}, body, path="/v1beta/decisions")
    assert await bench.figures() == ("0.10", "0.00")


async def test_a_decision_that_was_blocked_costs_its_input_alone(bench):
    body = {"model": "scout", "input": "x", "questions": QUESTIONS}
    blocked = {"prompt_feedback": {"block_reason": "safety"}, "usage": {"total_input_tokens": 1_000_000}}
    await ask(bench, blocked, body, path="/v1beta/decisions")
    assert await bench.figures() == ("0.50", "0.00")


async def test_a_decision_of_an_unknown_model_is_refused(bench):
    played = await ask(bench, {}, {"input": "x", "questions": QUESTIONS}, path="/v1beta/decisions")
    assert (played.status, played.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
