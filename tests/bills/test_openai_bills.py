"""What answers on OpenAI's wires are booked at, as gateways and providers write them, at published prices."""

from typing import Any

import pytest

from budget_middleware.testing import ScriptedApp, call, event, json_answer
from tests.bills.test_unusual_usages import CHAT, END, chunks, ending, whole
from tests.request.wire import KEY, LAST, STREAM_START, bearer

RESPONSES = "/v1/responses"
IMAGES = "/v1/images/generations"
RERANK = "/v1/rerank"
TRANSCRIPTIONS = "/v1/audio/transcriptions"

# 100 at 3, 10,000 read from the cache at .3, 2,000 written to it at 3.75, or at 6 for an hour, 200 at 15.
WRITTEN, WRITTEN_1H = "0.0138", "0.0183"
CACHED: dict = {"prompt_tokens": 12_100, "completion_tokens": 200, "total_tokens": 12_300}


def claude(details, **fields):
    return ("claude-sonnet-4-5", CHAT, whole({**CACHED, "prompt_tokens_details": details, **fields}))


MOONSHOT = {"prompt_tokens": 1336, "completion_tokens": 31, "total_tokens": 1367, "cached_tokens": 1280}
ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

USAGES = {
    "new-api's written tokens": (
        *claude({"cached_tokens": 10_000, "cached_creation_tokens": 2_000}),
        WRITTEN,
    ),
    "new-api's for an hour": (
        *claude(
            {"cached_tokens": 10_000, "cached_creation_tokens": 2_000},
            claude_cache_creation_5_m_tokens=0,
            claude_cache_creation_1_h_tokens=2_000,
        ),
        WRITTEN_1H,
    ),
    "Qwen's written tokens": (
        *claude(
            {
                "cached_tokens": 10_000,
                "cache_creation_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 2_000},
                "cache_creation_input_tokens": 2_000,
                "cache_type": "ephemeral",
            }
        ),
        WRITTEN,
    ),
    "by their age in the details": (
        *claude({"cached_tokens": 10_000, "cache_creation": {"ephemeral_1h_input_tokens": 2_000}}),
        WRITTEN_1H,
    ),
    "LangChain's names": (
        "claude-sonnet-4-5",
        CHAT,
        whole(
            {
                "input_tokens": 12_100,
                "output_tokens": 200,
                "total_tokens": 12_300,
                "input_token_details": {"cache_read": 10_000, "cache_creation": 2_000},
            }
        ),
        WRITTEN,
    ),
    "one name with 0 beside one with the figure": (
        *claude({"cached_tokens": 0}, prompt_cache_hit_tokens=0, cache_read_input_tokens=10_000),
        # 2,100 at 3.
        "0.0123",
    ),
    # 56 at .6, 1,280 from the cache at .15, 31 at 2.5.
    "Moonshot's in a choice, beside zeros": (
        "kimi-k2-0905-preview",
        CHAT,
        chunks({"choices": [{**END["choices"][0], "usage": MOONSHOT}], "usage": ZEROS}),
        "0.0003031",
    ),
    "seconds without a type": (
        "whisper-1",
        TRANSCRIPTIONS,
        json_answer({"text": "hello", "usage": {"seconds": 203, "cost": None}}),
        "0.0203",
    ),
    # 10 at .3 and 1,290 at 30, the price of an image at Google itself.
    "an image in a chat, through OpenRouter": (
        "openrouter/google/gemini-2.5-flash-image",
        CHAT,
        whole(
            {
                "prompt_tokens": 10,
                "completion_tokens": 1290,
                "total_tokens": 1300,
                "completion_tokens_details": {"image_tokens": 1290},
            }
        ),
        "0.038703",
    ),
    # 10 at .5, 100 at 3 and 1,120 at 60.
    "an image beside a text": (
        "openrouter/google/gemini-3.1-flash-image-preview",
        CHAT,
        whole(
            {
                "prompt_tokens": 10,
                "completion_tokens": 1220,
                "completion_tokens_details": {"image_tokens": 1120, "reasoning_tokens": 0},
            }
        ),
        "0.067505",
    ),
    # 22 at .6 and 77 at 2.5: it counts its thoughts apart, and comes to one more.
    "Moonshot's thoughts": (
        "kimi-k2-0905-preview",
        CHAT,
        whole({"prompt_tokens": 22, "completion_tokens": 77, "completion_tokens_details": {"reasoning_tokens": 78}}),
        "0.0002057",
    ),
    "Mistral's name of cached tokens": (
        "claude-sonnet-4-5",
        CHAT,
        whole({**CACHED, "num_cached_tokens": 10_000}),
        "0.0123",
    ),
    # 378 of input and 1 of output: sound is counted beside the text of the input. .1 and .4 a million.
    "Mistral's sound beside the input": (
        "voxtral-small-latest",
        CHAT,
        whole(
            {
                "prompt_tokens": 3,
                "completion_tokens": 1,
                "total_tokens": 379,
                "prompt_tokens_details": {"audio_tokens": 375},
            }
        ),
        "0.0000382",
    ),
    # All of the total that is in no part was heard: 2.5 in and 10 out.
    "a transcription does not think": (
        "gpt-4o-transcribe",
        TRANSCRIPTIONS,
        json_answer({"text": "hello", "usage": {"input_tokens": 40, "output_tokens": 10, "total_tokens": 150}}),
        "0.00045",
    ),
    "the length of a recording as a text": (
        "whisper-1",
        TRANSCRIPTIONS,
        json_answer({"task": "transcribe", "duration": "203.0", "text": "hello", "segments": []}),
        "0.0203",
    ),
    "figures as texts": (
        "gpt-4o",
        CHAT,
        whole({"prompt_tokens": "1000", "completion_tokens": "100", "total_tokens": "1100"}),
        "0.0035",
    ),
    # 3 and 15 a million, and .006 for the request. What it cites costs only with the one for research.
    "what Perplexity cites": (
        "perplexity/sonar-pro",
        CHAT,
        whole(
            {
                "prompt_tokens": 50,
                "completion_tokens": 100,
                "total_tokens": 150,
                "citation_tokens": 5000,
                "num_search_queries": 3,
                "search_context_size": "low",
            },
            model="sonar-pro",
        ),
        "0.00765",
    ),
}


@pytest.mark.parametrize("name", USAGES)
async def test_the_bill(memory, name):
    model, path, answer, spent = USAGES[name]
    assert (await ending(memory, model, path, answer))[0] == spent


async def test_of_a_total_alone_the_text_tells_the_output(memory):
    answer = whole({"total_tokens": 1100}, choices=[{"message": {"content": "word" * 400}}])
    # 700 at 2.5 and 400 at 10.
    assert await ending(memory, "gpt-4o", CHAT, answer) == ("0.00575", "usage_unreconciled")


# The cost, that of the provider, whether the key was one's own -> what is booked.
COSTS = {
    "a key of one's own": (0.0005, 0.02, {"is_byok": True}, "0.0205"),
    "the same where nothing says so": (0, 0.02, {}, "0.02"),
    "not so": (0.02, 0.02, {"is_byok": False}, "0.02"),
    "nor where nothing says so": (0.02, 0.02, {}, "0.02"),
    "for free": (0, 0, {"is_byok": False}, "0.00"),
    "nobody knows": (0, None, {}, "0.0035"),
}


@pytest.mark.parametrize("name", COSTS)
async def test_a_cost_beside_that_of_the_provider(memory, name):
    cost, upstream, flag, spent = COSTS[name]
    told = {"cost": cost, "cost_details": {"upstream_inference_cost": upstream}, **flag}
    answer = whole({"prompt_tokens": 1000, "completion_tokens": 100, **told})
    assert await ending(memory, "gpt-4o", CHAT, answer) == (spent, "usage")


TIERS = [("priority", None, "0.00595"), ("priority", "default", "0.0035"), ("flex", None, "0.0035")]


@pytest.mark.parametrize(("asked", "told", "spent"), TIERS)
async def test_a_dearer_tier_counts_as_it_was_asked_for_unless_the_answer_tells_another(memory, asked, told, spent):
    tier = {} if told is None else {"service_tier": told}
    answer = whole({"prompt_tokens": 1000, "completion_tokens": 100}, **tier)
    assert await booked(memory, "gpt-4o", CHAT, answer, service_tier=asked) == spent


async def booked(memory, model, path, answer, **fields):
    """What the key has spent after such an answer to a request with these fields."""
    guard = memory.guard(ScriptedApp(*answer), limits="key=9/month")
    body = {"model": model, "input": "hello", "prompt": "hello", "messages": [], **fields}
    played = await call(guard, body, path=path, headers=bearer())
    assert played.status == 200, played.body
    spent, reserved = await memory.figures(KEY)
    assert reserved == "0.00"
    return spent


DRAWN = [
    ("dall-e-2", {"n": 2, "size": "512x512"}, 2, "0.036"),
    # Two of four were withheld.
    ("dall-e-2", {"n": 4, "size": "1024x1024"}, 2, "0.04"),
    ("dall-e-3", {"quality": "hd", "size": "1024x1792"}, 1, "0.12"),
    # Sold by tokens, of which nothing is told: as it was estimated, 408 at 32 and the request at 5.
    ("gpt-image-1.5", {"quality": "low", "size": "1024x1536"}, 1, "0.013071"),
]


@pytest.mark.parametrize(("model", "fields", "came", "spent"), DRAWN)
async def test_images_are_billed_as_they_came(memory, model, fields, came, spent):
    answer = json_answer({"created": 1, "data": [{"b64_json": "A"}] * came})
    assert await booked(memory, model, IMAGES, answer, **fields) == spent


def drawing(**fields):
    call = {"type": "image_generation_call", "status": "completed", "quality": "high", "size": "1024x1024"}
    tools = [{"type": "image_generation", "model": "gpt-image-1.5"}]
    usage = {"input_tokens": 1000, "output_tokens": 50, "total_tokens": 1050}
    return {"status": "completed", "output": [{**call, "result": "A" * 99}], "tools": tools, "usage": usage, **fields}


IMAGES_OF_RESPONSES = [
    # 1,000 at 2 and 50 at 8 of gpt-4.1; 4,160 at 32, as the page of prices has it for such an image.
    ({}, "0.13552"),
    # As the tool tells it: 1,000 at 32.
    ({"tool_usage": {"image_gen": {"input_tokens": 0, "output_tokens": 1000}}}, "0.0344"),
    ({"tool_usage": {"image_gen": {"output_tokens": 1000}, "web_search": {"num_requests": 0}}, "output": []}, "0.0344"),
    # It was called, and nothing came of it.
    ({"output": [{"type": "image_generation_call", "status": "failed", "result": None}]}, "0.0024"),
]


@pytest.mark.parametrize(("fields", "spent"), IMAGES_OF_RESPONSES)
async def test_an_image_that_a_response_drew_is_billed_beside_it(memory, fields, spent):
    answer = json_answer(drawing(**fields))
    assert await booked(memory, "gpt-4.1", RESPONSES, answer, tools=[{"type": "image_generation"}]) == spent


RANKED: dict[str, tuple[dict[str, Any], str]] = {
    # .05 a million.
    "tokens that Cohere would not bill": ({"meta": {"tokens": {"input_tokens": 1_000_000}}}, "0.05"),
    "a total of what is billed": ({"meta": {"billed_units": {"total_tokens": 1_000_000}}}, "0.05"),
    "zeros beside it": (
        {"meta": {"billed_units": {"input_tokens": 0}}, "usage": {"prompt_tokens": 0, "total_tokens": 1_000_000}},
        "0.05",
    ),
    "a cost": ({"usage": {"search_units": 1, "total_tokens": 0, "cost": 0.003}}, "0.003"),
}


@pytest.mark.parametrize("name", RANKED)
async def test_a_ranking_is_billed_by_what_is_told(memory, name):
    fields, spent = RANKED[name]
    answer = json_answer({"results": [{"index": 0, "relevance_score": 0.9}], **fields})
    assert await booked(memory, "rerank-2.5", RERANK, answer, query="hello", documents=["a", "b"]) == spent


USED = {"prompt_tokens": 1000, "completion_tokens": 100, "cost": 0.01}
HITS = {
    "LiteLLM": ({"x-litellm-cache-key": "5f", "x-litellm-response-cost": "0.0035"}, "0.00"),
    "OpenRouter": ({"X-OpenRouter-Cache-Status": "HIT", "X-OpenRouter-Cache-Age": "12"}, "0.00"),
    "Portkey": ({"x-portkey-cache-status": "SEMANTIC HIT"}, "0.00"),
    "Cloudflare": ({"cf-aig-cache-status": "HIT"}, "0.00"),
    "Helicone": ({"helicone-cache": "hit"}, "0.00"),
    "a miss": ({"cf-aig-cache-status": "MISS", "x-portkey-cache-status": "REFRESH", "helicone-cache": ""}, "0.01"),
    "no key": ({"x-litellm-cache-key": ""}, "0.01"),
    "a cache of another kind": ({"x-cache": "HIT", "age": "12"}, "0.01"),
}


@pytest.mark.parametrize("name", HITS)
@pytest.mark.parametrize("streams", [False, True])
async def test_an_answer_from_a_gateways_cache_costs_nothing(memory, name, streams):
    headers, spent = HITS[name]
    first, *rest = chunks({**END, "usage": USED}) if streams else whole(USED)
    first = {**first, "headers": [*first["headers"], *((k.encode(), v.encode()) for k, v in headers.items())]}
    assert await booked(memory, "gpt-4o", CHAT, (first, *rest)) == spent


async def test_a_cache_that_replays_zeros_costs_nothing_either(memory):
    first, *rest = chunks({**END, "usage": ZEROS}, text="word" * 400)
    first = {**first, "headers": [*first["headers"], (b"x-openrouter-cache-status", b"HIT")]}
    assert await booked(memory, "gpt-4o", CHAT, (first, *rest)) == "0.00"


BARE_ERRORS = [
    {"code": 20012, "message": "Model does not exist.", "data": None},
    {"code": "1113", "message": "insufficient balance"},
    {"code": "InvalidParameter", "message": "no", "request_id": "r"},
    {"error_code": 336003, "error_msg": "messages must be an array", "id": "as-1"},
    {"code": 400, "msg": "bad request", "data": {}},
]


@pytest.mark.parametrize("document", BARE_ERRORS)
async def test_a_bare_code_with_a_message_is_an_error(memory, document):
    assert await ending(memory, "gpt-4o", CHAT, json_answer(document)) == ("0.00", "error_answer")


@pytest.mark.parametrize("fields", [{"code": 0}, {"code": 200}, {"code": "OK"}, {"code": None}, {}])
async def test_one_that_tells_no_error_is_none(memory, fields):
    _, reason = await ending(memory, "gpt-4o", CHAT, json_answer({"message": "hello", **fields}))
    assert reason == "estimated_complete"


async def test_a_usage_beside_the_response_at_the_end_of_a_stream(memory):
    done = {"type": "response.completed", "response": {"status": "completed", "output": [], "usage": None}}
    usage = {"input_tokens": 50, "output_tokens": 100, "total_tokens": 150}
    answer = (
        STREAM_START,
        event({"type": "response.output_text.delta", "delta": "hello"}),
        event({**done, "usage": usage}),
        LAST,
    )
    assert await booked(memory, "gpt-4o", RESPONSES, answer) == "0.001125"
