"""What answers with unusual usages are booked at, to the nano-dollar, at the published prices of their models."""

import pytest

from budget_middleware.stores.notes import Topic
from budget_middleware.testing import ScriptedApp, call, event, json_answer
from tests.request.wire import KEY, LAST, STREAM_START, bearer
from tests.stores.verbs import whole_journal

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


async def ending(memory, model, path, answer, *, messages=(), **settings):
    """What the key has spent after such an answer, and the reason in the journal."""
    guard = memory.guard(ScriptedApp(*answer), limits="key=9/month", **settings)
    body = {"model": model, "messages": list(messages), "max_tokens": 100}
    if not messages:
        body |= {"input": "hello", "prompt": "hello"}
    played = await call(guard, body, path=path, headers=bearer())
    assert played.status == 200, played.body
    spent, reserved = await memory.figures(KEY)
    assert reserved == "0.00"
    return spent, (await whole_journal(memory.reader))[-1].reason


def whole(usage, **fields):
    return json_answer({"choices": [{"message": {"content": "hello"}}], "usage": usage, **fields})


def streamed(*documents):
    return (STREAM_START, *map(event, documents), LAST)


def chunks(*last, text="hello"):
    return streamed({"choices": [{"index": 0, "delta": {"content": text}}]}, *last, "[DONE]")


def claude(start, delta):
    return streamed(
        {"type": "message_start", "message": {"model": "claude-sonnet-4-5", "usage": start}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hello"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": delta},
        {"type": "message_stop"},
    )


THOUGHT = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 1215}
TICKS = {
    "prompt_tokens": 1000,
    "completion_tokens": 300,
    "total_tokens": 1300,
    "num_sources_used": 3,
    "cost_in_usd_ticks": 825_000_000,
}
FOR_AN_HOUR: dict = {
    "prompt_tokens": 12_100,
    "completion_tokens": 200,
    "prompt_tokens_details": {
        "cached_tokens": 10_000,
        "cache_creation_token_details": {"ephemeral_1h_input_tokens": 2_000},
    },
}
WRITTEN_AT_START = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 3000,
    "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000},
    "output_tokens": 1,
}
TOP_LEVEL = {
    "prompt_tokens": 12_100,
    "completion_tokens": 200,
    "cache_creation_input_tokens": 2_000,
    "cache_read_input_tokens": 10_000,
}
SPOKEN = {
    "prompt_tokens": 110,
    "completion_tokens": 220,
    "prompt_tokens_details": {"audio_tokens": 100},
    "completion_tokens_details": {"audio_tokens": 200},
}
GROQ = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
GROQ_MODEL = "groq/llama-3.3-70b-versatile"
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ZEROS = {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}

CASES = {
    "M01": ("gemini-2.5-pro", CHAT, whole(THOUGHT), "0.0120625"),
    "M01 in a stream": ("gemini-2.5-pro", CHAT, chunks({"choices": [], "usage": THOUGHT}), "0.0120625"),
    "M01 at Google's own API": (
        "",
        "/v1beta/models/gemini-2.5-pro:generateContent",
        json_answer(
            {
                "candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 1215},
            }
        ),
        "0.0120625",
    ),
    "M02": ("grok-4", CHAT, whole(TICKS), "0.0825"),
    "M02 in a stream": ("grok-4", CHAT, chunks({**END, "usage": TICKS}), "0.0825"),
    "M03": ("claude-sonnet-4-5", CHAT, chunks({**END, "usage": FOR_AN_HOUR}), "0.0183"),
    "M03 with the sum": (
        "claude-sonnet-4-5",
        CHAT,
        whole(
            {
                **FOR_AN_HOUR,
                "prompt_tokens_details": {**FOR_AN_HOUR["prompt_tokens_details"], "cache_creation_tokens": 2_000},
            }
        ),
        "0.0183",
    ),
    "M03 beside the details": (
        "claude-sonnet-4-5",
        CHAT,
        whole({**TOP_LEVEL, "cache_creation": {"ephemeral_1h_input_tokens": 2_000, "ephemeral_5m_input_tokens": 0}}),
        "0.0183",
    ),
    "M04": ("claude-sonnet-4-5", CHAT, whole(TOP_LEVEL), "0.0138"),
    "M04 with empty details": (
        "claude-sonnet-4-5",
        CHAT,
        whole({**TOP_LEVEL, "prompt_tokens_details": {"cached_tokens": 0}}),
        "0.0138",
    ),
    "M04 as Anthropic counts": ("claude-sonnet-4-5", CHAT, whole({**TOP_LEVEL, "prompt_tokens": 100}), "0.0138"),
    "M04 as its total says": (
        "claude-sonnet-4-5",
        CHAT,
        whole({**TOP_LEVEL, "prompt_tokens": 12_100, "total_tokens": 24_300}),
        # 12,100 plain ones, and those of the cache beside them.
        "0.0498",
    ),
    "M05": (
        "claude-sonnet-4-5",
        MESSAGES,
        claude({"input_tokens": 5000, "output_tokens": 1}, {"input_tokens": 2000, "output_tokens": 100}),
        "0.0075",
    ),
    # 1,000 for five minutes at 3.75 and 2,000 for an hour at 6, which the last event does not tell apart.
    "the ages of what is written to a cache, at the start alone": (
        "claude-sonnet-4-5",
        MESSAGES,
        claude(
            WRITTEN_AT_START,
            {"input_tokens": 21, "cache_creation_input_tokens": 3000, "output_tokens": 400},
        ),
        "0.021813",
    ),
    # Later more is written than the start knew of: at the dearer price.
    "a write that grows": (
        "claude-sonnet-4-5",
        MESSAGES,
        claude(
            WRITTEN_AT_START,
            {"input_tokens": 21, "cache_creation_input_tokens": 4000, "output_tokens": 400},
        ),
        "0.027813",
    ),
    # 33 and 20,016 sources at 2, 7,163 at 8, 73,997 thoughts at 3, and 18 searches at .005.
    "research by Perplexity": (
        "perplexity/sonar-deep-research",
        CHAT,
        whole(
            {
                "prompt_tokens": 33,
                "completion_tokens": 7163,
                "total_tokens": 7196,
                "citation_tokens": 20_016,
                "num_search_queries": 18,
                "reasoning_tokens": 73_997,
            }
        ),
        "0.409393",
    ),
    "M07": (GROQ_MODEL, CHAT, chunks({**END, "x_groq": {"id": "r", "usage": GROQ}}), "0.000985"),
    "M07 in a choice": (
        GROQ_MODEL,
        CHAT,
        chunks({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": GROQ}]}),
        "0.000985",
    ),
    "M07 in the metrics": (GROQ_MODEL, CHAT, chunks({**END, "metrics": GROQ}), "0.000985"),
    "M07 beside a usage of null": (
        GROQ_MODEL,
        CHAT,
        chunks({**END, "usage": None, "x_groq": {"usage": GROQ}}),
        "0.000985",
    ),
    "M08": (
        "voyage-3.5",
        "/v1/embeddings",
        json_answer({"data": [{"embedding": [0.1]}], "usage": {"total_tokens": 1_000_000}}),
        "0.06",
    ),
    "M09": (
        "voxtral-mini-2602",
        "/v1/audio/transcriptions",
        json_answer(
            {
                "text": "hello",
                "usage": {
                    "prompt_audio_seconds": 203,
                    "prompt_tokens": 4,
                    "completion_tokens": 635,
                    "total_tokens": 3264,
                },
            }
        ),
        "0.01015",
    ),
    "M10": (
        "gpt-image-1.5",
        "/v1/images/generations",
        json_answer({"data": [{"b64_json": "A"}], "usage": {"input_tokens": 0, "output_tokens": 1584}}),
        "0.050688",
    ),
    "M10 but for what it says is text": (
        "gpt-image-1.5",
        "/v1/images/generations",
        json_answer(
            {
                "data": [{"b64_json": "A"}],
                "usage": {"input_tokens": 0, "output_tokens": 1584, "output_tokens_details": {"text_tokens": 584}},
            }
        ),
        # 1,000 at 32, 584 at 10.
        "0.03784",
    ),
    # 10 at 2.5, 100 heard at 40; 20 at 10, 200 spoken at 80.
    "M11": ("gpt-4o-audio-preview", CHAT, whole(SPOKEN), "0.020225"),
    # 10 at .15, 100 heard at 10; 20 at .6, 200 spoken at 20.
    "M11 of the small one": ("gpt-4o-mini-audio-preview", CHAT, whole(SPOKEN), "0.0050135"),
    "M11 through OpenRouter": ("openrouter/openai/gpt-audio", CHAT, whole(SPOKEN), "0.016225"),
    "M12": ("gpt-4o", CHAT, chunks({**END, "usage": {"prompt_tokens": 1000, "completion_tokens": 50}}, ZEROS), "0.003"),
    "reasoning beside the output, and no total": (
        "grok-4",
        CHAT,
        whole({"prompt_tokens": 1000, "completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 300}}),
        "0.0078",
    ),
    "the output is in the total alone": (
        "gpt-4o",
        CHAT,
        whole({"prompt_tokens": 1000, "total_tokens": 1100}),
        "0.0035",
    ),
    "so is the input": ("gpt-4o", CHAT, whole({"completion_tokens": 100, "total_tokens": 1100}), "0.0035"),
    "a total that no call can have": (
        "gpt-4o",
        CHAT,
        whole({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 10**9}),
        "0.0035",
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_bill(memory, name):
    model, path, answer, spent = CASES[name]
    assert (await ending(memory, model, path, answer))[0] == spent


async def test_m06_an_input_of_0_beside_an_output_is_estimated(memory):
    answer = claude({"input_tokens": 0, "output_tokens": 0}, {"output_tokens": 500})
    # With the key of its role 8,000 bytes, which are 2,000 tokens at 3.
    messages = [{"role": "user", "content": "x" * (8_000 - 15)}]
    spent, reason = await ending(memory, "claude-sonnet-4-5", MESSAGES, answer, messages=messages)
    assert (spent, reason) == ("0.0135", "usage_unreconciled")


COSTS: dict[str, tuple[dict, str]] = {
    "a text": ({"cost": "0.0125"}, "0.0125"),
    "a total": ({"total_cost": 0.0125}, "0.0125"),
    "DeepInfra's": ({"estimated_cost": 1.25e-05}, "0.0000125"),
    "M21 by who knows, 0 included": ({"cost": 0, "is_byok": False}, "0.00"),
    "ticks as a text": ({"cost_in_usd_ticks": "125000000"}, "0.0125"),
    "ticks as a float": ({"cost_in_usd_ticks": 125000000.0}, "0.0125"),
    "ticks that are none": ({"cost_in_usd_ticks": True}, "0.0035"),
    "0 ticks": ({"cost_in_usd_ticks": 0}, "0.00"),
    "by a gateway that may know no price": ({"cost": 0}, "0.0035"),
    "no amount": ({"cost": "free", "cost_in_usd_ticks": -1}, "0.0035"),
    "more than there is": ({"cost_in_usd_ticks": 10**30}, "0.0035"),
}


@pytest.mark.parametrize("name", COSTS)
async def test_a_cost_is_read_in_any_form(memory, name):
    fields, spent = COSTS[name]
    answer = whole({"prompt_tokens": 1000, "completion_tokens": 100, **fields})
    assert await ending(memory, "gpt-4o", CHAT, answer) == (spent, "usage")


DOUBTFUL: dict[str, tuple[dict, str]] = {
    "total_below_parts": ({"total_tokens": 1050}, "total_tokens"),
    "total_above_parts": ({"total_tokens": 9999, "completion_tokens_details": {"reasoning_tokens": 7}}, "total_tokens"),
    "part_exceeds_whole": ({"completion_tokens_details": {"reasoning_tokens": 10**9}}, ""),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
async def test_what_contradicts_itself_is_marked_and_noted_by_its_shape(memory, caplog, kind):
    fields, named = DOUBTFUL[kind]
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "a secret word": 7, **fields}
    spent, reason = await ending(memory, "gpt-4o", CHAT, whole(usage))
    assert reason == "usage_unreconciled"
    # 1,000 and 100 tokens are .0035: no reading is below that.
    assert float(spent) >= 0.0035
    (note,) = await memory.reader.notes()
    names = ", ".join(sorted({"prompt_tokens", "completion_tokens", *filter(None, [named])}))
    assert (note.topic, note.text) == (Topic.USAGE, f"gpt-4o: {kind} ({names})")
    assert caplog.text.count("contradicts itself") == 1
    assert "secret" not in caplog.text


async def test_a_usage_in_the_headers_of_an_invocation(memory):
    headers = {"input": "1000", "output": "100", "cache-read-input": "0"}
    start_, *rest = json_answer({"outputs": [{"text": "hello"}]})
    start_["headers"] += [(f"x-amzn-bedrock-{kind}-token-count".encode(), n.encode()) for kind, n in headers.items()]
    path = "/model/mistral.voxtral-mini-3b-2507/invoke"
    # .04 a million.
    assert await ending(memory, "", path, (start_, *rest)) == ("0.000044", "usage")


BOTH = """{"scribe": {
    "input_cost_per_token": 0.0000025, "output_cost_per_token": 0.00001, "input_cost_per_second": 0.0001
}}"""
TRANSCRIBED = {
    # 140 at 2.5 and 45 at 10 a million.
    "tokens": ({"type": "tokens", "input_tokens": 140, "output_tokens": 45, "total_tokens": 185}, "0.0008"),
    "seconds": ({"type": "duration", "seconds": 90}, "0.009"),
    "both": ({"prompt_tokens": 140, "completion_tokens": 45, "prompt_audio_seconds": 90}, "0.0098"),
}


@pytest.mark.parametrize("kind", TRANSCRIBED)
async def test_a_price_for_tokens_and_one_for_seconds_are_not_both_billed_unless_both_are_told(memory, tmp_path, kind):
    """The prices are those of `gpt-4o-transcribe` in LiteLLM's map."""
    prices = tmp_path / "map.json"
    prices.write_text(BOTH)
    usage, spent = TRANSCRIBED[kind]
    answer = json_answer({"text": "hello", "usage": usage})
    assert await ending(memory, "scribe", "/v1/audio/transcriptions", answer, prices=str(prices)) == (spent, "usage")
