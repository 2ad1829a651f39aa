"""What is booked for answers that fail or refuse although their status is 200, in every dialect, at true prices."""

import json

import pytest

from budget_middleware.testing import ScriptedApp, call, chunk, event, json_answer, start
from tests.apis.cuts import as_array, as_frames, as_lines
from tests.request.wire import KEY, LAST, STREAM_START, bearer
from tests.stores.verbs import whole_journal

ERROR = {"error": {"code": 502, "message": "Provider returned error", "metadata": {"provider_name": "x"}}}
TEXT = "word" * 100

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
GEMINI = "/v1beta/models/gemini-2.5-pro:generateContent"
GEMINI_STREAM = "/v1beta/models/gemini-2.5-pro:streamGenerateContent"
CONVERSE = "/model/anthropic.claude-3-5-sonnet-20240620-v1:0/converse-stream"

ASKS = {
    CHAT: {"model": "gpt-4o", "max_tokens": 16_000, "messages": [{"role": "user", "content": "hello"}]},
    MESSAGES: {"model": "claude-sonnet-4-5", "max_tokens": 8_000, "messages": [{"role": "user", "content": "hello"}]},
    RESPONSES: {"model": "gpt-4o", "max_output_tokens": 16_000, "input": "hello"},
    GEMINI: {"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 8_000}},
    GEMINI_STREAM: {"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 8_000}},
    CONVERSE: {"messages": [{"content": [{"text": "hello"}]}], "inferenceConfig": {"maxTokens": 8_000}},
    "/api/chat": {"model": "gpt-4o", "messages": [{"content": "hello"}], "options": {"num_predict": 8_000}},
    "/v1/embeddings": {"model": "openai/text-embedding-3-small", "input": "hello" * 400},
    "/v1/images/generations": {"model": "gpt-image-1.5", "prompt": "hello"},
    "/v1/rerank": {"model": "gpt-4o", "query": "hello", "documents": ["hello"] * 9},
    "/v1/audio/speech": {"model": "gpt-4o", "input": "hello" * 99},
    "/v1/audio/transcriptions": {"model": "gpt-4o", "file": "hello"},
}


def choice(finish_reason=None, text="", **fields):
    return {
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish_reason}]
    } | fields


def streamed(*documents):
    return (STREAM_START, *map(event, documents), LAST)


def body(content_type, data):
    return (start(content_type=content_type), chunk(data), LAST)


async def ending(memory, path, answer, **settings):
    """What the key has spent and reserved after such an answer, and the reason in the journal."""
    guard = memory.guard(ScriptedApp(*answer), limits="key=5/month", **settings)
    played = await call(guard, ASKS[path], path=path, headers=bearer())
    assert played.status == 200, played.body
    assert float(played.headers["x-budget-estimate-usd"]) > 0
    return (*await memory.figures(KEY), (await whole_journal(memory.reader))[-1].reason)


FAILED = {
    "M13 an error in a 200": (CHAT, json_answer(ERROR)),
    "M14 a stream whose first event is an error": (
        CHAT,
        streamed({"error": {"message": "rate limited", "code": "429"}}, "[DONE]"),
    ),
    "M15 a chunk that ends with an error": (
        CHAT,
        streamed(choice("error", error={"code": 502, "message": "Provider disconnected"}), "[DONE]"),
    ),
    "M16 a response that failed": (
        RESPONSES,
        streamed(
            {"type": "response.created", "response": {"status": "in_progress", "model": "gpt-4o", "usage": None}},
            {
                "type": "response.failed",
                "response": {
                    "status": "failed",
                    "error": {"code": "server_error", "message": "no"},
                    "output": [],
                    "usage": None,
                },
            },
        ),
    ),
    "a whole response that failed": (RESPONSES, json_answer({"status": "failed", "output": [], "usage": None})),
    "an error event of responses": (RESPONSES, streamed({"type": "error", "code": "rate_limit", "message": "no"})),
    "only the reason tells it": (
        CHAT,
        json_answer({"choices": [{"message": {"content": ""}, "finish_reason": "error"}]}),
    ),
    "a choice with an error": (CHAT, json_answer({"choices": [{"error": {"code": 502}, "message": {"content": ""}}]})),
    "an error that is a text": (CHAT, json_answer({"error": "overloaded"})),
    "an error with a usage of zeros": (
        CHAT,
        json_answer({**ERROR, "choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}),
    ),
    "vLLM's error object": (CHAT, json_answer({"object": "error", "message": "no", "code": 400})),
    "a framework's detail": (CHAT, json_answer({"detail": "Not Found"})),
    "Cloudflare's envelope": (CHAT, json_answer({"success": False, "errors": [{"code": 7}], "result": None})),
    "MiniMax's envelope": (CHAT, json_answer({"choices": None, "base_resp": {"status_code": 1004, "status_msg": ""}})),
    "DeepSeek gives up": (CHAT, streamed(choice("insufficient_system_resource"), "[DONE]")),
    "Anthropic's error event": (
        MESSAGES,
        streamed(
            {"type": "message_start", "message": {"usage": {"input_tokens": 5000, "output_tokens": 1}}},
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        ),
    ),
    "Anthropic's error": (MESSAGES, json_answer({"type": "error", "error": {"type": "overloaded_error"}})),
    "Gemini's error": (GEMINI, json_answer({"error": {"code": 503, "status": "UNAVAILABLE"}})),
    "Gemini's error in an array": (GEMINI_STREAM, body("application/json", as_array({"error": {"code": 503}}))),
    "Bedrock's exception": (
        CONVERSE,
        body("application/vnd.amazon.eventstream", as_frames({"role": "assistant"}, {"message": "Too many tokens"})),
    ),
    "Ollama's error": ("/api/chat", body("application/x-ndjson", as_lines({"error": "model is not loaded"}))),
    "embeddings": ("/v1/embeddings", json_answer({**ERROR, "data": []})),
    "images": ("/v1/images/generations", json_answer({**ERROR, "data": None})),
    "a ranking": ("/v1/rerank", json_answer({"message": "too many requests"})),
    "speech": ("/v1/audio/speech", json_answer(ERROR)),
    "a transcription": ("/v1/audio/transcriptions", json_answer(ERROR)),
}


@pytest.mark.parametrize("name", FAILED)
async def test_an_error_in_a_200_before_any_output_is_a_release(memory, name):
    path, answer = FAILED[name]
    assert await ending(memory, path, answer) == ("0.00", "0.00", "error_answer")


@pytest.mark.parametrize("on_abort", ["partial", "input", "full", "release", "drain"])
async def test_whatever_a_client_that_leaves_would_pay(memory, on_abort):
    path, answer = FAILED["M14 a stream whose first event is an error"]
    assert await ending(memory, path, answer[:-1], on_abort=on_abort) == ("0.00", "0.00", "error_answer")


# gpt-4o: 2.5 and 10 a million. "hello", with the key of its role, is 5 tokens, and TEXT a hundred.
OUTPUT = {
    "an error after output": (CHAT, streamed(choice(text=TEXT), ERROR, "[DONE]"), "0.0010125", "estimated_partial"),
    "an error beside output": (
        CHAT,
        json_answer({**ERROR, "choices": [{"message": {"content": TEXT}}]}),
        "0.0010125",
        "estimated_partial",
    ),
    "an error after a usage": (
        CHAT,
        streamed(choice(text=TEXT), {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 90}}, ERROR),
        "0.000925",
        "usage",
    ),
    "a failed response with a usage": (
        RESPONSES,
        json_answer({"status": "failed", "output": [], "usage": {"input_tokens": 50, "output_tokens": 0}}),
        "0.000125",
        "usage",
    ),
    # What may have been generated, and nobody can see: the estimate.
    "an error after thoughts that are kept secret": (
        RESPONSES,
        json_answer({"status": "failed", "output": [{"type": "reasoning", "encrypted_content": "A" * 99}]}),
        "0.160005",
        "estimated_partial",
    ),
    "an error beside what nobody knows": (CHAT, json_answer({**ERROR, "text": "?"}), "0.1600125", "estimated_partial"),
    "a message of an unknown shape": (CHAT, json_answer({"message": "hello"}), "0.1600125", "estimated_complete"),
    "a response that was cancelled": (
        RESPONSES,
        json_answer({"status": "cancelled", "output": [{"type": "message", "content": [{"text": TEXT}]}]}),
        "0.001005",
        "estimated_complete",
    ),
}


@pytest.mark.parametrize("name", OUTPUT)
async def test_what_was_generated_is_booked_all_the_same(memory, name):
    path, answer, spent, reason = OUTPUT[name]
    assert await ending(memory, path, answer) == (spent, "0.00", reason)


BLOCKED = {
    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
    "usageMetadata": {"promptTokenCount": 50, "totalTokenCount": 50},
    "modelVersion": "gemini-2.5-pro",
}
FILTERED = {
    "candidates": [{"finishReason": "SAFETY", "index": 0}],
    "usageMetadata": {"promptTokenCount": 50, "totalTokenCount": 50},
}


@pytest.mark.parametrize("document", [BLOCKED, FILTERED], ids=["blocked", "filtered"])
@pytest.mark.parametrize("kind", ["json", "events", "array"])
async def test_m17_a_refusal_with_a_usage_is_booked_by_it(memory, document, kind):
    answer = {
        "json": json_answer(document),
        "events": streamed(document),
        "array": body("application/json", as_array(document)),
    }[kind]
    assert await ending(memory, GEMINI if kind == "json" else GEMINI_STREAM, answer) == ("0.0000625", "0.00", "usage")


REFUSED = {
    # 4 tokens at 1.25, for no more was told.
    "Gemini without a usage": (GEMINI, json_answer({"promptFeedback": {"blockReason": "OTHER"}}), "estimated_complete"),
    "Anthropic": (
        MESSAGES,
        json_answer({"type": "message", "stop_reason": "refusal", "usage": {"input_tokens": 45, "output_tokens": 1}}),
        "usage",
    ),
    "a content filter": (
        CHAT,
        json_answer(
            {
                "choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}],
                "usage": {"prompt_tokens": 60, "completion_tokens": 0},
            }
        ),
        "usage",
    ),
}


@pytest.mark.parametrize(("name", "spent"), list(zip(REFUSED, ("0.000005", "0.00015", "0.00015"), strict=True)))
async def test_a_refusal_costs_its_input(memory, name, spent):
    path, answer, reason = REFUSED[name]
    assert await ending(memory, path, answer) == (spent, "0.00", reason)


async def test_an_error_after_a_part_that_could_not_be_read_is_booked(memory):
    """What was too long to be read may have been output."""
    long = b"data: " + json.dumps(choice(text="x" * 1_100_000)).encode() + b"\n\n"
    answer = (STREAM_START, chunk(long), event(ERROR), LAST)
    assert await ending(memory, CHAT, answer, max_body_bytes="65536") == ("0.1600125", "0.00", "estimated_partial")
