"""The maximum of output tokens in a request's body, for each dialect that has a field for it."""

import json

import pytest

from budget_middleware.apis import APIS
from budget_middleware.apis.bodies.bounded_json import Steps, parse_in_steps
from budget_middleware.apis.bodies.reading import UNREADABLE, PartialBody, parse_body
from budget_middleware.apis.shared.clamping import clamp

API = {api.name: api for api in APIS}

UNNAMED = [
    ("openai-chat", {"model": "gpt-4o"}, {"max_tokens": 50}),
    ("openai-chat", {"model": "openai/o3-mini"}, {"max_completion_tokens": 50}),
    ("openai-chat", {"model": "gpt-5-mini"}, {"max_completion_tokens": 50}),
    ("openai-chat", {"model": 7}, {"max_tokens": 50}),
    ("openai-completions", {"prompt": "hi"}, {"max_tokens": 50}),
    ("openai-responses", {"input": "hi"}, {"max_output_tokens": 50}),
    ("anthropic-messages", {}, {"max_tokens": 50}),
    ("gemini", {"contents": []}, {"generationConfig": {"maxOutputTokens": 50}}),
    ("gemini", {"generationConfig": {"topK": 1}}, {"generationConfig": {"topK": 1, "maxOutputTokens": 50}}),
    ("ollama", {}, {"options": {"num_predict": 50}}),
    ("ollama", {"options": {"num_predict": -1, "seed": 1}}, {"options": {"num_predict": 50, "seed": 1}}),
]
NAMED = [
    ("openai-chat", {"max_tokens": 51}, {"max_tokens": 50}),
    ("openai-chat", {"max_tokens": "900"}, {"max_tokens": 50}),
    ("openai-chat", {"max_tokens": 20, "max_completion_tokens": 90}, {"max_completion_tokens": 50}),
    ("openai-responses", {"max_output_tokens": 900}, {"max_output_tokens": 50}),
    ("anthropic-messages", {"max_tokens": 900}, {"max_tokens": 50}),
    ("gemini", {"generation_config": {"max_output_tokens": 900}}, {"generation_config": {"max_output_tokens": 50}}),
    ("bedrock", {"inferenceConfig": {"maxTokens": 900}}, {"inferenceConfig": {"maxTokens": 50}}),
    ("bedrock", {"max_gen_len": 900}, {"max_gen_len": 50}),
]
KEPT = [
    ("openai-chat", {"max_tokens": 50}),
    ("openai-chat", {"max_completion_tokens": 1}),
    ("anthropic-messages", {"max_tokens": 49}),
    ("gemini", {"generationConfig": {"maxOutputTokens": 50}}),
    ("ollama", {"options": {"num_predict": 3}}),
    # Which field its model has is not known here.
    ("bedrock", {"messages": []}),
    ("openai-embeddings", {"input": "hi"}),
    ("rerank", {"max_tokens": 900}),
    ("a dialect of one's own", {"max_tokens": 900}),
]


def clamped(api: str, raw: bytes, body: object | None = None) -> object:
    found = clamp(api, raw, parse_body(raw) if body is None else body, at_most=50)
    if found is None:
        return None
    written, changed = found
    assert changed == parse_body(written), "what is read of it is what the app gets"
    if api in API:
        assert (API[api].read_request(changed, path="", n_bytes=len(written)).max_output_tokens or 0) <= 50
    return changed


@pytest.mark.parametrize(("api", "body", "changes"), [*UNNAMED, *NAMED])
def test_a_maximum_is_lowered_or_written(api: str, body: dict[str, object], changes: dict[str, object]):
    others = {"temperature": 0.1, "messages": [{"role": "user", "content": "hi"}]}
    assert clamped(api, json.dumps(others | body).encode()) == others | body | changes


@pytest.mark.parametrize(("api", "body"), KEPT)
def test_nothing_is_changed(api: str, body: dict[str, object]):
    assert clamped(api, json.dumps(body).encode()) is None


def test_other_values_stay_as_they_are_written():
    raw = b'{ "seed": 1e2, "x":123456789012345678901234567890, "max_tokens": 900 ,"max_tokens":800}'
    found = clamp("openai-chat", raw, parse_body(raw), at_most=50)
    assert found is not None
    assert found[0] == b'{"seed":1e2,"x":123456789012345678901234567890,"max_tokens":50}'


def test_what_only_a_lenient_parser_reads():
    assert clamped("openai-chat", b'{"temperature": NaN, "max_tokens": 900}'.replace(b"NaN", b"Infinity")) is not None
    assert clamped("openai-chat", '{"max_tokens": 900}'.encode("utf-16")) == {"max_tokens": 50}


@pytest.mark.parametrize("body", [UNREADABLE, None, [], "text", 7])
def test_what_is_no_object_is_left_alone(body: object):
    assert clamp("openai-chat", b"?", body, at_most=50) is None


def all_at_once(steps: Steps[object]) -> object:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_body_of_too_many_values_is_clamped_at_its_end():
    raw = b'{"model":"m","max_tokens":900,"stop":[' + b"{},".join([b""] * 90_000) + b"{}] } "
    body = all_at_once(parse_in_steps(raw))
    assert isinstance(body, PartialBody)
    found = clamp("openai-chat", raw, body, at_most=50)
    assert found is not None
    written, changed = found
    assert parse_body(written)["max_tokens"] == 50  # type: ignore[index]  # It is an object.
    assert isinstance(changed, PartialBody)
    assert changed["max_tokens"] == 50
    assert changed.n_lists == body.n_lists
