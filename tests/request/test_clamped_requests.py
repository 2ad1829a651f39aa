"""BUDGET_CLAMP: what the app is asked for is what is left of the tightest limit."""

import gzip
import json

import pytest

from budget_middleware.testing import PlayedRequest, ScriptedApp, call
from tests.request.bench import Bench
from tests.request.wire import ask, bearer, completion, stream

# At a tenth of a cent for each token, 1,000 tokens to a dollar.
CLAMPS = {"clamp": "on", "default_output_tokens": "100"}


async def asked_of_the_app(app: ScriptedApp, played: PlayedRequest) -> dict[str, object]:
    assert played.status == 200
    body: dict[str, object] = json.loads(app.bodies[-1])
    return body


def unlimited(**fields: object) -> dict[str, object]:
    """A request that names no maximum."""
    body = ask(**fields)
    del body["max_tokens"]
    return body


async def test_a_request_without_a_maximum_gets_what_is_left(memory: Bench):
    app = ScriptedApp(*completion(400))
    guard = memory.guard(app, **CLAMPS)
    assert (await asked_of_the_app(app, await call(guard, unlimited(), headers=bearer())))["max_tokens"] == 1000
    assert (await asked_of_the_app(app, await call(guard, unlimited(), headers=bearer())))["max_tokens"] == 600
    assert (await asked_of_the_app(app, await call(guard, ask(150), headers=bearer())))["max_tokens"] == 150
    assert (await call(guard, unlimited(), headers=bearer())).status == 429
    assert await memory.figures() == ("1.20", "0.00")


async def test_the_tightest_limit_counts(memory: Bench):
    app = ScriptedApp(*completion(100))
    guard = memory.guard(app, limits="key=1/month; global=0.3/day; key=0.5/hour", **CLAMPS)
    assert (await asked_of_the_app(app, await call(guard, unlimited(), headers=bearer())))["max_tokens"] == 300


async def test_several_choices_share_it(memory: Bench):
    app = ScriptedApp(*completion(100))
    played = await call(memory.guard(app, **CLAMPS), unlimited(n=3), headers=bearer())
    assert (await asked_of_the_app(app, played))["max_tokens"] == 333


async def test_the_input_is_paid_first(memory: Bench):
    app = ScriptedApp(*completion(100))
    body = {"model": "talk", "messages": [{"role": "user", "content": "x" * (400 - 15)}]}
    played = await call(memory.guard(app, **CLAMPS), body, headers=bearer())
    # 100 tokens of input are a tenth of the limit; a thousand of output would be 1.20.
    assert (await asked_of_the_app(app, played))["max_tokens"] == 750


@pytest.mark.parametrize("model", ["gift", "short"])
async def test_what_cannot_come_to_so_much_is_left_as_it_is(memory: Bench, model: str):
    """A model that is free, and one whose ceiling is below what is left."""
    app = ScriptedApp(*completion(100))
    played = await call(memory.guard(app, **CLAMPS), unlimited(model=model), headers=bearer())
    assert "max_tokens" not in await asked_of_the_app(app, played)


@pytest.mark.parametrize("settings", [{"clamp": "off"}, {"mode": "shadow"}, {"limits": ""}])
async def test_nothing_is_written_where_nothing_is_to_be_clamped(memory: Bench, settings: dict[str, str]):
    app = ScriptedApp(*completion(100))
    body = unlimited()
    await call(memory.guard(app, **{**CLAMPS, **settings}), body, headers=bearer())
    assert json.loads(app.bodies[-1]) == body


async def test_a_stream_is_clamped_and_asked_for_its_usage(memory: Bench):
    app = ScriptedApp(*stream(100))
    played = await call(memory.guard(app, **CLAMPS), unlimited(stream=True), headers=bearer())
    body = await asked_of_the_app(app, played)
    assert body["max_tokens"] == 1000
    assert body["stream_options"] == {"include_usage": True}
    assert app.scopes[-1]["headers"].count((b"content-length", str(len(app.bodies[-1])).encode())) == 1
    assert b"usage" not in played.body


async def test_a_compressed_request_is_sent_on_as_plain_text(memory: Bench):
    app = ScriptedApp(*completion(100))
    headers = {**bearer(), "content-encoding": "gzip"}
    packed = gzip.compress(json.dumps(unlimited()).encode(), mtime=0)
    played = await call(memory.guard(app, **CLAMPS), packed, headers=headers)
    assert (await asked_of_the_app(app, played))["max_tokens"] == 1000
    assert b"content-encoding" not in dict(app.scopes[-1]["headers"])
