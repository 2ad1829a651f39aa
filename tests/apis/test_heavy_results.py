"""Lines of results with more values than may be made objects of at once: their usage is read, and no worker stops."""

import json

import pytest

from budget_middleware.apis.jobs.batch_states import read_result
from tests.apis.timing import cpu_ms

MANY: list[dict[str, object]] = [{}] * 70_000
CHAT = {
    "object": "chat.completion",
    "model": "plain",
    "choices": [{"message": {"content": "x"}, "logprobs": {"content": MANY}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 100, "total_tokens": 109},
}
EMBEDDINGS = {
    "object": "list",
    "model": "plain",
    "data": [{"embedding": [0.5] * 300_000}],
    "usage": {"prompt_tokens": 9, "total_tokens": 9},
}
MESSAGE = {
    "type": "message",
    "model": "plain",
    "content": [{"type": "text", "text": "x", "citations": MANY}],
    "usage": {"input_tokens": 9, "output_tokens": 100},
}
GEMINI = {
    "candidates": [{"logprobsResult": {"topCandidates": MANY}}],
    "modelVersion": "plain",
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 100, "totalTokenCount": 109},
}


def of_openai(body, status=200):
    return {"custom_id": "c", "response": {"status_code": status, "body": body}, "error": None}


@pytest.mark.parametrize(
    ("api", "line", "output"),
    [
        ("openai-batches", of_openai(CHAT), 100),
        ("openai-batches", of_openai(EMBEDDINGS), 0),
        ("anthropic-batches", {"custom_id": "c", "result": {"type": "succeeded", "message": MESSAGE}}, 100),
        ("gemini-batches", {"key": "k", "response": GEMINI}, 100),
    ],
    ids=["chat", "embeddings", "messages", "gemini"],
)
def test_the_usage_of_a_heavy_line_is_read(api, line, output):
    seen = read_result(api, json.dumps(line).encode())
    assert seen is not None
    assert seen.usage is not None
    assert (seen.model, seen.usage.input_tokens, seen.usage.output_tokens) == ("plain", 9, output)


@pytest.mark.parametrize(
    ("api", "line"),
    [
        ("openai-batches", of_openai({"error": MANY}, status=400)),
        ("openai-batches", {"response": None, "error": MANY}),
        ("anthropic-batches", {"result": {"type": "errored", "error": MANY}}),
        ("gemini-batches", {"error": MANY}),
    ],
)
def test_a_heavy_error_is_one(api, line):
    assert read_result(api, json.dumps(line).encode()) is None


@pytest.mark.parametrize("line", [MANY, {"response": MANY}, {"response": {"status_code": "x", "body": MANY}}])
@pytest.mark.parametrize("api", ["openai-batches", "anthropic-batches", "gemini-batches"])
def test_what_is_no_result_is_not_taken_for_a_call_without_an_answer(api, line):
    seen = read_result(api, json.dumps(line).encode())
    assert seen is not None
    assert seen.usage is None


def test_a_line_of_millions_of_values_takes_a_moment():
    """To make an object of each took seconds."""
    line = json.dumps(of_openai({**CHAT, "choices": []})).encode().replace(b"[]", b"[" + b"{}," * 3_000_000 + b"{}]")
    assert cpu_ms(lambda: read_result("openai-batches", line), runs=2) < 1_000
