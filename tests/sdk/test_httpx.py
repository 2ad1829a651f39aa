"""The APIs that have no client of their own here, in bare HTTP: streams as they are, refusals in their shape."""

import json

import httpx
import pytest

from tests.sdk.provider import MODEL, TEXT

pytestmark = pytest.mark.processes

GEMINI = "/v1beta/models/test-model"
BEDROCK = "/model/test-model"
CONTENTS = [{"parts": [{"text": "x"}]}]
CONVERSE = [{"role": "user", "content": [{"text": "x"}]}]


@pytest.fixture
def post(gateway_url):
    def post(path, body, *, key, **headers):
        headers = {"authorization": f"Bearer {key}", **headers}
        return httpx.post(f"{gateway_url}{path}", json=body, headers=headers, timeout=60)

    return post


STREAMS = {
    "ollama": ("/api/chat", {"model": MODEL, "messages": [], "options": {"num_predict": 600}}),
    "gemini-array": (f"{GEMINI}:streamGenerateContent", {"contents": CONTENTS}),
    "gemini-events": (f"{GEMINI}:streamGenerateContent?alt=sse", {"contents": CONTENTS}),
    "bedrock": (f"{BEDROCK}/converse-stream", {"messages": CONVERSE}),
    "bedrock-whole": (f"{BEDROCK}/converse", {"messages": CONVERSE}),
}


@pytest.mark.parametrize("name", STREAMS)
def test_an_answer_comes_whole_and_books_its_usage(name, post, left_of):
    path, body = STREAMS[name]
    answer = post(path, body, key=name)
    assert answer.status_code == 200
    assert TEXT in answer.text
    assert left_of(name) == "0.9999"


def test_an_array_is_still_json(post):
    chunks = post(f"{GEMINI}:streamGenerateContent", {"contents": CONTENTS}, key="array").json()
    assert chunks[-1]["usageMetadata"]["promptTokenCount"] == 10


def test_a_search_is_booked_by_the_search(post, left_of):
    body = {"model": MODEL, "query": "x", "documents": ["y"]}
    assert post("/v1/rerank", body, key="rerank").headers["x-budget-cost-usd"] == "0.001"
    assert left_of("rerank") == "0.999"


def refused_of(kind):
    return {
        "/api/chat": lambda body: body["error"],
        "/v1/rerank": lambda body: body["message"],
        f"{BEDROCK}/converse": lambda body: body["message"],
        f"{GEMINI}:generateContent": lambda body: body["error"]["message"],
        "/v1/messages": lambda body: body["error"]["message"],
        "/v1/responses": lambda body: body["error"]["message"],
    }[kind]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"model": MODEL, "options": {"num_predict": 1_000_001}}),
        ("/v1/rerank", {"model": MODEL, "documents": ["x"] * 100_001}),
        (f"{BEDROCK}/converse", {"inferenceConfig": {"maxTokens": 1_000_001}}),
        (f"{GEMINI}:generateContent", {"generationConfig": {"maxOutputTokens": 1_000_001}}),
        ("/v1/messages", {"model": MODEL, "max_tokens": 1_000_001}),
        ("/v1/responses", {"model": MODEL, "max_output_tokens": 1_000_001}),
    ],
)
def test_a_refusal_has_the_callers_shape(path, body, post, requests_of):
    key = f"refused{path}".replace("/", "-")
    answer = post(path, body, key=key)
    assert answer.status_code == 429
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert "limit $1.00" in refused_of(path)(answer.json())
    assert requests_of(key) == 1


RESPONSE = {"model": MODEL, "input": "x", "max_output_tokens": 600_000}


def test_a_refusal_raises_what_httpx_raises_for_any_status(post):
    answer = post("/v1/responses", {**RESPONSE, "max_output_tokens": 1_000_001}, key="httpx-spent")
    with pytest.raises(httpx.HTTPStatusError, match="429 Too Many Requests"):
        answer.raise_for_status()


def test_a_held_budget_says_when_to_come_again(gateway_url, post, left_of):
    """httpx itself retries nothing; its caller waits as it is told."""
    headers = {"authorization": "Bearer httpx-held", "x-play": "slow"}
    slow = {**RESPONSE, "stream": True}
    with httpx.stream("POST", f"{gateway_url}/v1/responses", json=slow, headers=headers, timeout=60) as stream:
        chunks = stream.iter_bytes()
        next(chunks)
        held = post("/v1/responses", RESPONSE, key="httpx-held")
        assert (held.status_code, held.headers["x-should-retry"]) == (429, "true")
        assert held.json()["error"]["code"] == "budget_held"
        assert 1 <= int(held.headers["retry-after"]) <= 30
        for _ in chunks:
            pass
    assert post("/v1/responses", RESPONSE, key="httpx-held").status_code == 200
    assert left_of("httpx-held") == "0.9998"


@pytest.mark.parametrize("route", ["transcriptions", "translations"])
def test_a_file_beyond_the_bound_of_bodies_is_estimated_by_its_length(route, gateway_url, left_of):
    """A form is read to its end, however long its files are."""
    answer = httpx.post(
        f"{gateway_url}/v1/audio/{route}",
        data={"model": MODEL},
        files={"file": ("a.mp3", bytes(12_000_000))},
        headers={"authorization": f"Bearer long-{route}"},
        timeout=60,
    )
    assert answer.status_code == 200
    assert answer.headers["x-budget-estimate-usd"] == "0.006"  # 1,500 seconds, of four tokens each.
    assert json.loads(answer.content)["text"] == TEXT
    assert left_of(f"long-{route}") == "0.9999"
