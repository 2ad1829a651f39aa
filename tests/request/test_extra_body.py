"""What LiteLLM sends to the provider in place of a body's own fields, and what it is told to leave out."""

import json
import sys

import pytest

from budget_middleware.testing import ScriptedApp, call
from tests.request.bench import Bench
from tests.request.test_long_bodies import SHAPES
from tests.request.test_request_body import STREAM
from tests.request.wire import ask, bearer, completion

OVERRIDES = {
    "choices": (ask(100), {"extra_body": {"n": 4}}, "0.40"),
    "more choices than the body's": (ask(100, n=2), {"extra_body": {"n": 4}}, "0.40"),
    "fewer choices than the body's": (ask(100, n=4), {"extra_body": {"n": 2}}, "0.40"),
    "choices as text": (ask(100), {"extra_body": {"n": "4"}}, "0.40"),
    "a maximum": (ask(100), {"extra_body": {"max_tokens": 400}}, "0.40"),
    "a maximum by its other name": (ask(100), {"extra_body": {"max_completion_tokens": 400}}, "0.40"),
    "a smaller maximum": (ask(400), {"extra_body": {"max_tokens": 100}}, "0.40"),
    "a maximum that is left out": (ask(100), {"additional_drop_params": ["max_tokens"]}, "0.45"),
    "nothing that matters": (ask(400), {"extra_body": {"top_k": 4}, "additional_drop_params": ["seed"]}, "0.40"),
    "what is no object": (ask(400), {"extra_body": [1], "additional_drop_params": "max_tokens"}, "0.40"),
}


@pytest.mark.parametrize(("body", "more", "held"), OVERRIDES.values(), ids=OVERRIDES)
async def test_what_is_sent_on_is_held(memory: Bench, body, more, held):
    guard = memory.guard(ScriptedApp(*completion(0)), default_output_tokens="450")
    played = await call(guard, {**body, **more}, headers=bearer())
    assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, held)


@pytest.mark.parametrize("name", ["n", "max_tokens"])
@pytest.mark.parametrize("value", [-1, "x", 1.5, True])
async def test_what_is_no_count_there_is_refused(memory: Bench, name: str, value: object):
    app = ScriptedApp(*completion(0))
    played = await call(memory.guard(app), ask(100, extra_body={name: value}), headers=bearer())
    assert (played.status, app.scopes) == (400, [])


async def test_a_field_twice_in_it_is_refused(memory: Bench):
    app = ScriptedApp(*completion(0))
    raw = b'{"model": "plain", "max_tokens": 1, "extra_body": {"n": 1, "n": 50}}'
    assert (await call(memory.guard(app), raw, headers=bearer())).status == 400
    assert app.scopes == []


async def test_messages_of_both_count(memory: Bench):
    """Which of them is sent on is not known here."""
    talk = [{"role": "user", "content": "x" * 400}]
    guard = memory.guard(ScriptedApp(*completion(0)), limits="key=9/month")
    body = {"model": "talk", "max_tokens": 1, "messages": talk}
    one = await call(guard, body, headers=bearer())
    both = await call(
        guard,
        {**body, "extra_body": {"messages": [{"role": "user", "content": "y" * 400}]}},
        headers=bearer(),
    )
    held, held_of_both = (float(played.headers["x-budget-estimate-usd"]) for played in (one, both))
    assert held_of_both > 1.9 * held


HIDING = {
    "an option": {"extra_body": {"stream_options": {"include_usage": False}, "top_k": 4}},
    "no options": {"extra_body": {"stream_options": None, "top_k": 4}},
    "options left out": {"additional_drop_params": ["seed", "stream_options"]},
    "one left out": {"additional_drop_params": ["seed", "stream_options.include_usage"]},
    "both": {
        "stream_options": {"include_usage": True},
        "extra_body": {"stream_options": {}, "top_k": 4},
        "additional_drop_params": ["seed", "stream_options"],
    },
}


@pytest.mark.parametrize("more", HIDING.values(), ids=HIDING)
async def test_a_stream_reports_its_usage_whatever_it_says_elsewhere(bench: Bench, more: dict[str, object]):
    app = ScriptedApp(*STREAM)
    await call(bench.guard(app), ask(600, stream=True, **more), headers=bearer())
    sent = json.loads(app.bodies[0])
    assert sent["stream_options"] == {"include_usage": True}
    if "extra_body" in more:
        assert sent["extra_body"]["top_k"] == 4
        assert sent["extra_body"].get("stream_options", {"include_usage": True}) == {"include_usage": True}
    if "additional_drop_params" in more:
        assert sent["additional_drop_params"] == ["seed"]
    assert await bench.figures() == ("0.60", "0.00")


async def test_nor_does_one_with_too_many_values_hide_it(memory: Bench):
    hiding = b', "extra_body": {"stream_options": {}}, "additional_drop_params": ["stream_options"]}'
    raw = SHAPES["half as many objects"]().replace(b'"stream": "no"', b'"stream": true')[:-1] + hiding
    app = ScriptedApp(*completion(600))
    await call(memory.guard(app, limits="key=9/month"), raw, headers=bearer())
    sent = json.loads(app.bodies[0])
    assert sent["stream_options"] == sent["extra_body"]["stream_options"] == {"include_usage": True}
    assert sent["additional_drop_params"] == []


@pytest.mark.parametrize("less", range(40, 80))
async def test_nor_does_one_that_is_too_deep_to_be_written_anew(memory: Bench, less: int):
    depth = sys.getrecursionlimit() - less
    raw = json.dumps(ask(600, stream=True, extra_body={"stream_options": {}, "x": "DEEP"})).encode()
    app = ScriptedApp(*STREAM)
    played = await call(memory.guard(app), raw.replace(b'"DEEP"', b"[" * depth + b"]" * depth), headers=bearer())
    assert played.status == 400 or b'"extra_body":{"stream_options":{}' not in app.bodies[0].replace(b" ", b"")


CLAMPED = {
    "a larger maximum": (
        {"extra_body": {"max_tokens": 5_000, "top_k": 4}},
        {"extra_body": {"max_tokens": 1_000, "top_k": 4}},
    ),
    "a smaller one": ({"extra_body": {"max_tokens": 50}}, {"extra_body": {"max_tokens": 50}}),
    "one left out": ({"additional_drop_params": ["max_tokens", "seed"]}, {"additional_drop_params": ["seed"]}),
}


@pytest.mark.parametrize(("more", "sent"), CLAMPED.values(), ids=CLAMPED)
async def test_a_maximum_is_clamped_there_too(memory: Bench, more: dict[str, object], sent: dict[str, object]):
    app = ScriptedApp(*completion(100))
    guard = memory.guard(app, clamp="on", estimate="learned", default_output_tokens="100")
    await call(guard, {"model": "plain", "messages": [], **more}, headers=bearer())
    assert json.loads(app.bodies[0]) == {"model": "plain", "messages": [], "max_tokens": 1_000, **sent}
