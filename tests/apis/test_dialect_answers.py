"""What each API's answers tell, whole or streamed, and wherever the stream is cut."""

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings

from budget_middleware.apis import APIS
from budget_middleware.apis.answers.answer_reader import AnswerReader
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.pricing import Usage, UsageClass
from tests.apis.cuts import CUTS, as_array, as_events, as_frames, as_lines, cut, passed
from tests.examples import examples

BY_NAME = {api.name: api for api in APIS}
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
LINES = "application/x-ndjson"
FRAMES = "application/vnd.amazon.eventstream"


def read(api, content_type, body, places=()):
    reader = AnswerReader(BY_NAME[api], hide_usage=False, max_body_bytes=1_000_000)
    headers = [(b"content-type", content_type.encode())]
    assert reader.begin(200, headers) == headers
    assert passed(reader, cut(body, places)) == body
    return reader.seen


def whole(document):
    return json.dumps(document).encode()


# Anthropic's cache: 10 plain, 900 read, 50 written of which 20 for an hour.
CLAUDE_INPUT = {
    "input_tokens": 10,
    "cache_read_input_tokens": 900,
    "cache_creation_input_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20},
}
CLAUDE_USAGE = Usage(
    input_tokens=960, output_tokens=25, cached_input_tokens=900, cache_write_tokens=50, cache_write_1h_tokens=20
)
CLAUDE_STREAM = (
    {"type": "message_start", "message": {"model": "claude-opus-4-5", "usage": {**CLAUDE_INPUT, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "A" * 99}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "f", "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 25}},
    {"type": "message_stop"},
)
SUMMARY = {"type": "thought_summary", "content": {"type": "text", "text": "hm"}}
INTERACTION = {
    "id": "v1_x",
    "object": "interaction",
    "model": "gemini-3.8-flash",
    "status": "completed",
    "steps": [
        {"type": "user_input", "content": [{"type": "text", "text": "x" * 99}]},
        {"type": "thought", "summary": [{"text": "hm"}], "signature": "A" * 99},
        {"type": "google_search_result", "result": [{"text": "x" * 99}]},
        {"type": "model_output", "content": [{"type": "text", "text": "hello", "annotations": [{"x": 1}]}]},
        {"type": "function_call", "id": "f", "name": "f", "arguments": {"a": "b"}},
    ],
    "usage": {
        "total_input_tokens": 100,
        "total_cached_tokens": 40,
        "total_output_tokens": 20,
        "total_thought_tokens": 7,
        "total_tool_use_tokens": 5,
        "total_tokens": 132,
        "input_tokens_by_modality": [{"modality": "text", "tokens": 70}, {"modality": "audio", "tokens": 30}],
        "cached_tokens_by_modality": [{"modality": "audio", "tokens": 10}],
        "output_tokens_by_modality": [{"modality": "image", "tokens": 15}],
        "grounding_tool_count": [{"type": "google_search", "count": 3}, {"type": "google_maps", "count": "2"}],
    },
}
EMPTY: dict[str, list[str]] = {"steps": [], "usage": []}
FIRST_COUNTS = {"total_input_tokens": 9, "total_output_tokens": 5, "total_reasoning_tokens": 3, "total_tokens": 17}
# What its totals leave out: a compaction by the same model, and the advice of another.
ITERATIONS = [
    {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500, "cache_read_input_tokens": 1_000},
    {"type": "message", "input_tokens": 10, "output_tokens": 25, "model": "claude-opus-4-5"},
    {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 823, "output_tokens": 531},
    {"type": "fallback_message", "model": "claude-opus-4-5", "input_tokens": 10, "output_tokens": 25},
]
BESIDE = (
    ("", Usage(input_tokens=181_000, cached_input_tokens=1_000, output_tokens=3_500)),
    ("claude-opus-4-8", Usage(input_tokens=823, output_tokens=531)),
)
GEMINI_USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 40,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 7,
    "toolUsePromptTokenCount": 5,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 70}, {"modality": "AUDIO", "tokenCount": 30}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}],
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 15}],
}
GEMINI_SEEN = Usage(
    input_tokens=105,
    output_tokens=27,
    cached_input_tokens=40,
    reasoning_tokens=7,
    input_audio_tokens=30,
    cached_audio_tokens=10,
    output_image_tokens=15,
)
INTERACTION_SEEN = replace(GEMINI_SEEN, web_searches=3, grounded_requests=1, maps_requests=2)
GEMINI_STREAM = (
    {"candidates": [{"content": {"parts": [{"text": "hel"}]}}], "usageMetadata": {"promptTokenCount": 100}},
    {"candidates": [{"content": {"parts": [{"text": "lo]}"}]}}], "usageMetadata": {"trafficType": "ON_DEMAND_FLEX"}},
    {
        "candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"}],
        "usageMetadata": GEMINI_USAGE,
        "modelVersion": "gemini-2.5-flash",
    },
)
RESPONSE = {
    "model": "gpt-5.2",
    "status": "completed",
    "service_tier": "flex",
    "output": [
        {"type": "reasoning", "summary": [{"text": "hm"}], "encrypted_content": "A" * 99},
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "message", "content": [{"type": "output_text", "text": "hello"}]},
    ],
    "usage": {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 20},
    },
}
RESPONSE_USAGE = Usage(input_tokens=100, output_tokens=50, cached_input_tokens=40, reasoning_tokens=20)
RESPONSE_USES = frozenset({(UsageClass.WEB_SEARCH, "1")})
RESPONSE_STREAM = (
    {"type": "response.created", "response": {"status": "in_progress", "model": "gpt-5.2"}},
    {"type": "response.output_text.delta", "delta": "hel"},
    {"type": "response.function_call_arguments.delta", "delta": "lo"},
    {"type": "response.audio.delta", "delta": "AAAA"},
    {"type": "response.output_text.done", "text": "hel"},
    {"type": "response.completed", "response": RESPONSE},
)
OLLAMA_STREAM = (
    {"model": "llama3", "message": {"role": "assistant", "content": "hel"}, "done": False},
    {"model": "llama3", "message": {"content": "lo", "thinking": "hm"}, "done": False},
    {"model": "llama3", "message": {"content": ""}, "done": True, "prompt_eval_count": 26, "eval_count": 9},
)
CONVERSE_STREAM = (
    {"role": "assistant", "p": "abc"},
    {"contentBlockIndex": 0, "delta": {"text": "hel"}, "p": "abcdefgh"},
    {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "lo"}}, "p": "abc"},
    {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "A" * 99}}},
    {"stopReason": "end_turn"},
    {"usage": {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 900}, "metrics": {"latencyMs": 1}},
)
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 10, "outputTokenCount": 5}}


def invoked(*documents):
    """The stream of an invoked model: its own events in base64, the last one with Bedrock's metrics."""
    *others, last = documents
    return as_frames(
        *({"bytes": base64.b64encode(whole(inner)).decode(), "p": "abc"} for inner in (*others, {**last, **METRICS}))
    )


# api, content type, body -> what is seen
ANSWERS = {
    "completion": (
        "openai-completions",
        JSON,
        whole({"model": "m", "choices": [{"text": "hello"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        Seen(usage=Usage(input_tokens=3, output_tokens=2), model="m", text_bytes=5, chunks=1, readable=True),
    ),
    "streamed completion": (
        "openai-completions",
        EVENTS,
        as_events({"choices": [{"text": "hel"}]}, {"choices": [{"text": "lo"}]}, "[DONE]"),
        Seen(text_bytes=5, chunks=2, readable=True, terminal=True),
    ),
    "response": (
        "openai-responses",
        JSON,
        whole(RESPONSE),
        Seen(
            usage=RESPONSE_USAGE,
            uses=RESPONSE_USES,
            model="gpt-5.2",
            service_tier="flex",
            text_bytes=34,
            chunks=1,
            readable=True,
        ),
    ),
    "streamed response": (
        "openai-responses",
        EVENTS,
        as_events(*RESPONSE_STREAM),
        Seen(
            usage=RESPONSE_USAGE,
            uses=RESPONSE_USES,
            model="gpt-5.2",
            service_tier="flex",
            text_bytes=5,
            chunks=2,
            readable=True,
            terminal=True,
            has_unread_output=True,
        ),
    ),
    "failed response": (
        "openai-responses",
        EVENTS,
        as_events(RESPONSE_STREAM[1], {"type": "response.failed", "response": {"status": "failed", "usage": None}}),
        Seen(text_bytes=3, chunks=1, readable=True, terminal=True),
    ),
    "response in the background": (
        "openai-responses",
        JSON,
        whole({"model": "gpt-5.2", "status": "queued", "background": True, "output": [], "usage": None}),
        Seen(model="gpt-5.2", continues_unread=True),
    ),
    "streamed response in the background, left": (
        "openai-responses",
        EVENTS,
        as_events({"type": "response.created", "response": {"background": True}}, RESPONSE_STREAM[1]),
        Seen(text_bytes=3, chunks=1, readable=True, continues_unread=True),
    ),
    "streamed response in the background, read": (
        "openai-responses",
        EVENTS,
        as_events({"type": "response.created", "response": {"background": True}}, *RESPONSE_STREAM[1:]),
        Seen(
            usage=RESPONSE_USAGE,
            uses=RESPONSE_USES,
            model="gpt-5.2",
            service_tier="flex",
            text_bytes=5,
            chunks=2,
            readable=True,
            terminal=True,
            has_unread_output=True,
        ),
    ),
    "embeddings": (
        "openai-embeddings",
        JSON,
        whole({"model": "m", "data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 8, "total_tokens": 8}}),
        Seen(usage=Usage(input_tokens=8), model="m", readable=True),
    ),
    "images by tokens": (
        "openai-images",
        JSON,
        whole(
            {
                "data": [{"b64_json": "A" * 99}],
                "usage": {
                    "input_tokens": 60,
                    "input_tokens_details": {"text_tokens": 10, "image_tokens": 50},
                    "output_tokens": 1056,
                },
            }
        ),
        Seen(usage=Usage(input_tokens=60, input_image_tokens=50, output_tokens=1056, output_image_tokens=1056)),
    ),
    "images by the piece": (
        "openai-images",
        JSON,
        whole({"data": [{"url": "https://x"}]}),
        Seen(usage=Usage(images=1)),
    ),
    "streamed image": (
        "openai-images",
        EVENTS,
        as_events(
            {"type": "image_generation.partial_image", "b64_json": "A"},
            {"type": "image_generation.completed", "usage": {"input_tokens": 10, "output_tokens": 1056}},
        ),
        Seen(usage=Usage(input_tokens=10, output_tokens=1056, output_image_tokens=1056)),
    ),
    "speech": ("openai-speech", "audio/mpeg", b"ID3" * 100, Seen()),
    "streamed speech": (
        "openai-speech",
        EVENTS,
        as_events(
            {"type": "speech.audio.delta", "audio": "AAAA"},
            {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}},
        ),
        Seen(usage=Usage(input_tokens=14, output_tokens=101, output_audio_tokens=101), terminal=True),
    ),
    "transcription by tokens": (
        "openai-transcriptions",
        JSON,
        whole(
            {
                "text": "hello",
                "usage": {
                    "type": "tokens",
                    "input_tokens": 14,
                    "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
                    "output_tokens": 45,
                },
            }
        ),
        Seen(
            usage=Usage(input_tokens=14, input_audio_tokens=14, output_tokens=45), text_bytes=5, chunks=1, readable=True
        ),
    ),
    "transcription by the second": (
        "openai-transcriptions",
        JSON,
        whole({"text": "hello", "usage": {"type": "duration", "seconds": 3.5}}),
        Seen(usage=Usage(audio_ms=3_500), text_bytes=5, chunks=1, readable=True),
    ),
    "verbose transcription": (
        "openai-transcriptions",
        JSON,
        whole({"text": "hello", "duration": 3.5}),
        Seen(input_usage=Usage(audio_ms=3_500), text_bytes=5, chunks=1, readable=True),
    ),
    "realtime response": (
        "openai-realtime",
        JSON,
        whole(
            {
                "type": "response.done",
                "response": {
                    "id": "resp_1",
                    "status": "completed",
                    "output": [{"type": "message", "content": [{"type": "output_audio", "transcript": "hello"}]}],
                    "usage": {
                        "total_tokens": 253,
                        "input_tokens": 132,
                        "output_tokens": 121,
                        "input_token_details": {
                            "text_tokens": 90,
                            "audio_tokens": 30,
                            "image_tokens": 12,
                            "cached_tokens": 64,
                            "cached_tokens_details": {"text_tokens": 50, "audio_tokens": 10, "image_tokens": 4},
                        },
                        "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
                    },
                },
            }
        ),
        Seen(
            usage=Usage(
                input_tokens=132,
                output_tokens=121,
                cached_input_tokens=64,
                input_audio_tokens=30,
                cached_audio_tokens=10,
                input_image_tokens=12,
                cached_image_tokens=4,
                output_audio_tokens=91,
            ),
            terminal=True,
        ),
    ),
    "realtime response without a usage": (
        "openai-realtime",
        JSON,
        whole(
            {
                "type": "response.done",
                "response": {
                    "status": "cancelled",
                    "output": [{"type": "message", "content": [{"type": "output_text", "text": "hello"}]}],
                    "usage": None,
                },
            }
        ),
        Seen(text_bytes=5, chunks=1, readable=True, terminal=True),
    ),
    "realtime transcription": (
        "openai-realtime",
        JSON,
        whole(
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "transcript": "hello",
                "usage": {"type": "duration", "seconds": 3.5},
            }
        ),
        Seen(usage=Usage(audio_ms=3_500), text_bytes=5, chunks=1, readable=True, terminal=True),
    ),
    "live session": (
        "openai-live",
        JSON,
        whole({"type": "session.closed", "reason": "expired", "usage": {"seconds": 3.5}}),
        Seen(usage=Usage(audio_ms=3_500)),
    ),
    "translation": ("openai-translations", JSON, whole({"type": "session.closed"}), Seen()),
    "subtitles": ("openai-transcriptions", "text/plain", b"1\n00:00 --> 00:01\nhello\n", Seen()),
    "streamed transcription": (
        "openai-transcriptions",
        EVENTS,
        as_events(
            {"type": "transcript.text.delta", "delta": "hello"},
            {"type": "transcript.text.done", "text": "hello", "usage": {"input_tokens": 14, "output_tokens": 45}},
        ),
        Seen(usage=Usage(input_tokens=14, output_tokens=45), text_bytes=5, chunks=1, readable=True, terminal=True),
    ),
    "message": (
        "anthropic-messages",
        JSON,
        whole(
            {
                "type": "message",
                "model": "claude-opus-4-5",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "A" * 99},
                    {"type": "text", "text": "hello"},
                ],
                "usage": {**CLAUDE_INPUT, "output_tokens": 25, "service_tier": "standard"},
            }
        ),
        Seen(
            usage=CLAUDE_USAGE,
            model="claude-opus-4-5",
            service_tier="standard",
            text_bytes=7,
            chunks=1,
            readable=True,
        ),
    ),
    "message with searches, fast": (
        "anthropic-messages",
        JSON,
        whole(
            {
                "type": "message",
                "usage": {
                    "input_tokens": 1,
                    "output_tokens": 2,
                    "speed": "fast",
                    "server_tool_use": {"web_search_requests": 3},
                    "output_tokens_details": {"thinking_tokens": 1},
                },
            }
        ),
        Seen(usage=Usage(input_tokens=1, output_tokens=2, web_searches=3, reasoning_tokens=1), service_tier="fast"),
    ),
    "message with a compaction and advice": (
        "anthropic-messages",
        JSON,
        whole({"type": "message", "usage": {"input_tokens": 1, "output_tokens": 2, "iterations": ITERATIONS}}),
        Seen(usage=Usage(input_tokens=1, output_tokens=2), extra_calls=BESIDE),
    ),
    "message with iterations that are none": (
        "anthropic-messages",
        JSON,
        whole(
            {
                "type": "message",
                "usage": {
                    "input_tokens": 1,
                    "output_tokens": 2,
                    "iterations": [7, {"type": "compaction"}, {"type": ["compaction"]}],
                },
            }
        ),
        Seen(usage=Usage(input_tokens=1, output_tokens=2)),
    ),
    "streamed message with a compaction and advice": (
        "anthropic-messages",
        EVENTS,
        as_events(
            *CLAUDE_STREAM[:2],
            {"type": "message_delta", "usage": {"output_tokens": 25, "iterations": ITERATIONS}},
            CLAUDE_STREAM[-1],
        ),
        Seen(
            usage=CLAUDE_USAGE,
            input_usage=replace(CLAUDE_USAGE, output_tokens=0),
            extra_calls=BESIDE,
            model="claude-opus-4-5",
            readable=True,
            terminal=True,
        ),
    ),
    "streamed message": (
        "anthropic-messages",
        EVENTS,
        as_events(*CLAUDE_STREAM),
        Seen(
            usage=CLAUDE_USAGE,
            input_usage=replace(CLAUDE_USAGE, output_tokens=0),
            model="claude-opus-4-5",
            text_bytes=10,
            chunks=4,
            readable=True,
            terminal=True,
        ),
    ),
    "message that was left": (
        "anthropic-messages",
        EVENTS,
        as_events(*CLAUDE_STREAM[:5]),
        Seen(
            input_usage=replace(CLAUDE_USAGE, output_tokens=0),
            model="claude-opus-4-5",
            text_bytes=5,
            chunks=2,
            readable=True,
        ),
    ),
    "message whose input grew": (
        "anthropic-messages",
        EVENTS,
        as_events(CLAUDE_STREAM[0], {"type": "message_delta", "usage": {"input_tokens": 2_000, "output_tokens": 25}}),
        Seen(
            # What was read from the cache and written to it is not told again, and comes on top.
            usage=replace(CLAUDE_USAGE, input_tokens=2_950),
            input_usage=replace(CLAUDE_USAGE, output_tokens=0),
            model="claude-opus-4-5",
            readable=True,
        ),
    ),
    "message whose input was overestimated": (
        "anthropic-messages",
        EVENTS,
        as_events(
            {"type": "message_start", "message": {"usage": {"input_tokens": 5_000, "output_tokens": 1}}},
            {"type": "message_delta", "usage": {"input_tokens": 2_000, "output_tokens": 100}},
        ),
        Seen(
            usage=Usage(input_tokens=2_000, output_tokens=100),
            input_usage=Usage(input_tokens=5_000),
            readable=True,
        ),
    ),
    "content": (
        "gemini",
        JSON,
        whole(GEMINI_STREAM[-1]),
        Seen(usage=GEMINI_SEEN, model="gemini-2.5-flash", text_bytes=5, chunks=1, readable=True),
    ),
    "streamed content, an array": (
        "gemini",
        JSON,
        as_array(*GEMINI_STREAM),
        Seen(
            usage=GEMINI_SEEN,
            input_usage=Usage(input_tokens=100),
            model="gemini-2.5-flash",
            service_tier="flex",
            text_bytes=12,
            chunks=3,
            readable=True,
        ),
    ),
    "streamed content, events": (
        "gemini",
        EVENTS,
        as_events(*GEMINI_STREAM),
        Seen(
            usage=GEMINI_SEEN,
            input_usage=Usage(input_tokens=100),
            model="gemini-2.5-flash",
            service_tier="flex",
            text_bytes=12,
            chunks=3,
            readable=True,
        ),
    ),
    "blocked content": (
        "gemini",
        JSON,
        whole({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}),
        Seen(usage=Usage(input_tokens=9), input_usage=Usage(input_tokens=9), readable=True),
    ),
    "an interaction": (
        "gemini-interactions",
        JSON,
        whole(INTERACTION),
        Seen(usage=INTERACTION_SEEN, model="gemini-3.8-flash", text_bytes=14, chunks=1, readable=True),
    ),
    "a streamed interaction": (
        "gemini-interactions",
        EVENTS,
        as_events(
            {"event_type": "interaction.created", "interaction": {**INTERACTION, "status": "in_progress", **EMPTY}},
            {"event_type": "step.start", "index": 0, "step": {"type": "thought"}},
            {"event_type": "step.delta", "index": 0, "delta": SUMMARY},
            {"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": "hello"}},
            {"event_type": "step.delta", "index": 2, "delta": {"type": "google_search_result", "result": "x" * 99}},
            {"event_type": "step.stop", "index": 2, "step_usage": {"total_output_tokens": 999}},
            {"event_type": "interaction.completed", "interaction": {**INTERACTION, "steps": []}},
            "[DONE]",
        ),
        Seen(usage=INTERACTION_SEEN, model="gemini-3.8-flash", text_bytes=7, chunks=2, readable=True, terminal=True),
    ),
    "the first interactions": (
        "gemini-interactions",
        EVENTS,
        as_events(
            {"event_type": "interaction.start", "interaction": {"id": "v1_x", "status": "in_progress"}},
            {"event_type": "content.delta", "index": 0, "delta": {"type": "text", "text": "hello"}},
            {"event_type": "interaction.complete", "interaction": {"id": "v1_x", "usage": FIRST_COUNTS}},
        ),
        Seen(
            usage=Usage(input_tokens=9, output_tokens=8, reasoning_tokens=3),
            text_bytes=5,
            chunks=1,
            readable=True,
            terminal=True,
        ),
    ),
    "an interaction that goes on": (
        "gemini-interactions",
        JSON,
        whole({**INTERACTION, "status": "queued", "steps": []}),
        Seen(usage=INTERACTION_SEEN, model="gemini-3.8-flash", readable=True, continues_unread=True),
    ),
    "a container of another size than was asked for": (
        "openai-containers",
        JSON,
        whole({"id": "cntr_1", "object": "container", "status": "running", "memory_limit": "4g"}),
        Seen(usage=Usage(code_containers=1), readable=True, modes=("container_4g",)),
    ),
    "a decision": (
        "gemini-decisions",
        JSON,
        whole({"answers": {"q": {"choice": "yes"}}, "usage": {"total_input_tokens": 9, "total_output_tokens": 3}}),
        Seen(usage=Usage(input_tokens=9, output_tokens=3), text_bytes=10, chunks=1, readable=True),
    ),
    "pictures, of which one is filtered out": (
        "google-predict",
        JSON,
        whole({"predictions": [{"bytesBase64Encoded": "AAAA"}, {"raiFilteredReason": "x", "prompt": "y"}]}),
        Seen(usage=Usage(images=1)),
    ),
    "predicted embeddings": (
        "google-predict",
        JSON,
        whole({"predictions": [{"embeddings": {"values": [0.1], "statistics": {"token_count": n}}} for n in (3, "4")]}),
        Seen(usage=Usage(input_tokens=7)),
    ),
    "a live turn": (
        "gemini-live",
        EVENTS,
        as_events(
            {"serverContent": {"modelTurn": {"parts": [{"text": "hello"}]}}},
            {
                "serverContent": {"turnComplete": True},
                "usageMetadata": {"promptTokenCount": 9, "responseTokenCount": 2},
            },
        ),
        Seen(
            usage=Usage(input_tokens=9, output_tokens=2),
            input_usage=Usage(input_tokens=9, output_tokens=2),
            text_bytes=5,
            chunks=1,
            readable=True,
        ),
    ),
    "embedded content": ("gemini", JSON, whole({"embedding": {"values": [0.1]}}), Seen(readable=True)),
    "rerank by searches": (
        "rerank",
        JSON,
        whole({"results": [], "meta": {"billed_units": {"search_units": 2}}}),
        Seen(usage=Usage(rerank_searches=2), readable=True),
    ),
    "rerank by tokens": (
        "rerank",
        JSON,
        whole({"model": "m", "data": [], "usage": {"total_tokens": 38}}),
        Seen(usage=Usage(input_tokens=38), model="m", readable=True),
    ),
    "rerank without usage": ("rerank", JSON, whole({"results": []}), Seen(readable=True)),
    "ollama chat": (
        "ollama",
        LINES,
        as_lines(*OLLAMA_STREAM),
        Seen(
            usage=Usage(input_tokens=26, output_tokens=9),
            model="llama3",
            text_bytes=7,
            chunks=2,
            readable=True,
            terminal=True,
        ),
    ),
    "ollama generate, whole": (
        "ollama",
        JSON,
        whole({"model": "llama3", "response": "hello", "done": True, "prompt_eval_count": 26, "eval_count": 9}),
        Seen(
            usage=Usage(input_tokens=26, output_tokens=9),
            model="llama3",
            text_bytes=5,
            chunks=1,
            readable=True,
            terminal=True,
        ),
    ),
    "ollama without a count": (
        "ollama",
        JSON,
        whole({"response": "hello", "done": True, "eval_count": 9}),
        Seen(usage=Usage(output_tokens=9), text_bytes=5, chunks=1, readable=True, terminal=True),
    ),
    "ollama embeddings": (
        "ollama",
        JSON,
        whole({"model": "m", "embeddings": [[0.1]], "prompt_eval_count": 8}),
        Seen(usage=Usage(input_tokens=8), model="m", readable=True),
    ),
    "bedrock converse": (
        "bedrock",
        JSON,
        whole(
            {
                "output": {"message": {"content": [{"text": "hello"}]}},
                "usage": {"inputTokens": 10, "outputTokens": 5, "cacheWriteInputTokens": 50},
                "metrics": {"latencyMs": 1},
            }
        ),
        Seen(
            usage=Usage(input_tokens=60, output_tokens=5, cache_write_tokens=50),
            text_bytes=5,
            chunks=1,
            readable=True,
            terminal=True,
        ),
    ),
    "bedrock converse, written for an hour": (
        "bedrock",
        JSON,
        whole(
            {
                "usage": {
                    "inputTokens": 10,
                    "outputTokens": 5,
                    "cacheWriteInputTokens": 50,
                    "cacheDetails": [{"ttl": "1h", "inputTokens": 30}, {"ttl": "5m", "inputTokens": 20}, 7],
                }
            }
        ),
        Seen(usage=Usage(input_tokens=60, output_tokens=5, cache_write_tokens=50, cache_write_1h_tokens=30)),
    ),
    "bedrock converse, streamed": (
        "bedrock",
        FRAMES,
        as_frames(*CONVERSE_STREAM),
        Seen(
            usage=Usage(input_tokens=910, output_tokens=5, cached_input_tokens=900),
            text_bytes=5,
            chunks=2,
            readable=True,
            terminal=True,
        ),
    ),
    "bedrock claude, streamed": (
        "bedrock",
        FRAMES,
        invoked(*CLAUDE_STREAM),
        Seen(
            usage=CLAUDE_USAGE,
            input_usage=replace(CLAUDE_USAGE, output_tokens=0),
            text_bytes=10,
            chunks=4,
            readable=True,
            terminal=True,
        ),
    ),
    "bedrock nova, streamed": (
        "bedrock",
        FRAMES,
        invoked({"contentBlockDelta": {"delta": {"text": "hello"}}}, {"metadata": {"usage": {}}}),
        Seen(usage=Usage(input_tokens=10, output_tokens=5), text_bytes=5, chunks=1, readable=True, terminal=True),
    ),
    "bedrock llama": (
        "bedrock",
        JSON,
        whole({"generation": "hello", "prompt_token_count": 10, "generation_token_count": 5}),
        Seen(usage=Usage(input_tokens=10, output_tokens=5), text_bytes=5, chunks=1, readable=True),
    ),
    "bedrock titan": (
        "bedrock",
        JSON,
        whole({"inputTextTokenCount": 10, "results": [{"tokenCount": 5, "outputText": "hello"}]}),
        Seen(usage=Usage(input_tokens=10, output_tokens=5), text_bytes=5, chunks=1, readable=True),
    ),
    "bedrock openai": (
        "bedrock",
        JSON,
        whole({"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}),
        Seen(usage=Usage(input_tokens=10, output_tokens=5)),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(name):
    api, content_type, body, seen = ANSWERS[name]
    assert read(api, content_type, body) == seen


@pytest.mark.parametrize("name", ANSWERS)
@settings(max_examples=examples(30))
@given(places=CUTS)
def test_cuts_change_nothing(name, places):
    api, content_type, body, seen = ANSWERS[name]
    assert read(api, content_type, body, places) == seen


def test_every_api_is_tried():
    assert {api for api, *_ in ANSWERS.values()} == BY_NAME.keys() - {"openai-chat"}  # It has a file of its own.


@pytest.mark.parametrize("api", BY_NAME)
def test_the_answer_of_another_api_is_read_as_far_as_it_goes(api):
    for name, (_, content_type, body, _) in ANSWERS.items():
        usage = read(api, content_type, body).usage
        assert usage is None or min(usage.input_tokens, usage.output_tokens) >= 0, name


class TestWholeUsage:
    EXPECTED = Usage(input_tokens=100, characters=40, audio_ms=9_000, images=2, rerank_searches=1)

    def test_without_a_usage_there_is_none(self):
        assert Seen().whole_usage(self.EXPECTED) is None

    def test_what_is_not_counted_in_tokens_is_known_from_the_request(self):
        seen = Seen(usage=Usage(input_tokens=7, output_tokens=3))
        assert seen.whole_usage(self.EXPECTED) == replace(self.EXPECTED, input_tokens=7, output_tokens=3)

    def test_what_is_told_beside_tokens_wins(self):
        seen = Seen(usage=Usage(input_tokens=7, audio_ms=1))
        assert seen.whole_usage(self.EXPECTED) == replace(self.EXPECTED, input_tokens=7, audio_ms=1)

    def test_where_only_something_else_is_told_tokens_are_as_expected(self):
        assert Seen(usage=Usage(audio_ms=1)).whole_usage(self.EXPECTED) == replace(self.EXPECTED, audio_ms=1)

    def test_f17_explicit_zeros_stay_zeros(self):
        assert Seen(usage=Usage()).whole_usage(Usage(input_tokens=100)) == Usage()

    def test_what_was_read_so_far(self):
        seen = Seen(text_bytes=40, chunks=2)
        assert seen.usage_so_far(self.EXPECTED) == replace(self.EXPECTED, output_tokens=10)
        seen.input_usage = CLAUDE_USAGE
        assert seen.usage_so_far(self.EXPECTED) == replace(CLAUDE_USAGE, output_tokens=10)
