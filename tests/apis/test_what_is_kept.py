"""Nothing long of a request is kept for as long as its answer takes: a worker may have a thousand of them at a time."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from budget_middleware.apis import APIS
from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.reading import MAX_ID
from budget_middleware.apis.protocol.base import Api

LONG = "x" * 100_000
TOOLS = [{"type": LONG, "search_context_size": LONG, "container": {"memory_limit": LONG}, "model": LONG, "size": LONG}]
NAMES = """
    service_tier serviceTier speed inference_geo size quality resolution agent voice user language task_type
    previous_response_id conversation reasoning_effort response_format method params id input_file_id training_file
"""
BODY: dict[str, Any] = {
    **dict.fromkeys(NAMES.split(), LONG),
    "tools": TOOLS,
    "web_search_options": TOOLS[0],
    "models": [LONG, {"model": LONG}],
    "fallbacks": [LONG] * 20,
    "modalities": [LONG],
    "serviceTier": {"type": LONG},
    "performanceConfig": {"latency": LONG},
    "agentConfig": {"model": LONG},
    "generationConfig": {"responseModalities": [LONG], "imageConfig": {"imageSize": LONG}},
    "parameters": {"resolution": LONG, "sampleCount": 1},
    "messages": [{"role": "user", "content": LONG}],
}


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, list, set, frozenset)):
        for each in value:
            yield from texts_in(each)


@pytest.mark.parametrize("body", [BODY, {**BODY, "serviceTier": LONG}], ids=["an object for a tier", "a text for one"])
@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_no_long_name_is_kept(api: Api, body: dict[str, Any]):
    try:
        ask = api.read_request(body, path="/v1", n_bytes=9)
    except BadRequestError:
        return
    kept = {field.name: getattr(ask, field.name) for field in fields(ask) if field.name != "texts"}
    assert {name for name, value in kept.items() for text in texts_in(value) if len(text) > MAX_ID} == set()


@pytest.mark.parametrize("n_tools", [3, 3_000])
def test_tools_that_are_alike_are_kept_once(n_tools: int):
    api = next(each for each in APIS if each.name == "openai-responses")
    tools = [{"type": "web_search_preview", "search_context_size": "high"}] * n_tools
    ask = api.read_request({"model": "x", "input": "x", "tools": tools}, path="/v1/responses", n_bytes=9)
    assert ask.modes == ("web_search_preview", "search_high")


@pytest.mark.parametrize("n_letters", [MAX_ID, MAX_ID + 1])
def test_a_model_by_a_very_long_name_is_refused(n_letters: int):
    api = next(each for each in APIS if each.name == "openai-chat")
    body = {"model": "x" * n_letters, "messages": []}
    if n_letters > MAX_ID:
        with pytest.raises(BadRequestError, match="more than 1024 characters"):
            api.read_request(body, path="/v1/chat/completions", n_bytes=9)
    else:
        assert api.read_request(body, path="/v1/chat/completions", n_bytes=9).model == body["model"]
