"""What the use of a provider's tools, and the mode that a call was served in, add to a bill."""

import pytest

from budget_middleware.stores.notes import Topic
from budget_middleware.testing import ScriptedApp, call, event, json_answer
from tests.request.wire import KEY, LAST, STREAM_START, bearer

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
IMAGES = "/v1/images/generations"


def gemini_path(model, verb="generateContent"):
    return f"/v1beta/models/{model}:{verb}"


async def booked(memory, model, path, answer, *, body=None, **settings):
    """What the key has spent after such an answer."""
    guard = memory.guard(ScriptedApp(*answer), limits="key=9/month", **settings)
    request = {"model": model, "max_tokens": 100, "input": "hello", "prompt": "hello", **(body or {})}
    played = await call(guard, request, path=path, headers=bearer())
    assert played.status == 200, played.body
    spent, reserved = await memory.figures(KEY)
    assert reserved == "0.00"
    return spent


def streamed(*documents):
    return (STREAM_START, *map(event, documents), LAST)


# Anthropic. Opus 4.6: 1,000 at 5 and 100 at 25 are .0075.


def message(**usage):
    usage = {"input_tokens": 1000, "output_tokens": 100, **usage}
    return {"type": "message", "model": "claude-opus-4-6", "content": [{"type": "text", "text": "hi"}], "usage": usage}


CODE = {"type": "server_tool_use", "id": "a", "name": "bash_code_execution", "input": {}}
CLAUDES = {
    "M24 six times as much in fast mode": ("claude-opus-4-6", message(speed="fast"), "0.045"),
    "at the standard speed": ("claude-opus-4-6", message(speed="standard"), "0.0075"),
    # .5 and 6.25 and 10 a million, six times.
    "fast mode of a cache": (
        "claude-opus-4-6",
        message(
            speed="fast",
            cache_read_input_tokens=1000,
            cache_creation_input_tokens=2000,
            cache_creation={"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 1000},
        ),
        "0.1455",
    ),
    "in the US alone": ("claude-opus-4-6", message(inference_geo="us"), "0.00825"),
    "anywhere": ("claude-opus-4-6", message(inference_geo="global"), "0.0075"),
    "fast and in the US": ("claude-opus-4-6", message(speed="fast", inference_geo="us"), "0.0495"),
    # Its list has the price: 16 and 80.
    "fast mode of a list": ("claude-fable-5-2", message(speed="fast") | {"model": "claude-fable-5-2"}, "0.024"),
    "a batch": ("claude-opus-4-6", message(service_tier="batch"), "0.00375"),
    "priority was bought before": ("claude-opus-4-6", message(service_tier="priority"), "0.0075"),
    # A fee is the same in every mode.
    "searches in fast mode": (
        "claude-opus-4-6",
        message(speed="fast", server_tool_use={"web_search_requests": 2}),
        "0.065",
    ),
}


@pytest.mark.parametrize("name", CLAUDES)
async def test_the_bill_of_a_message(memory, name):
    model, answer, spent = CLAUDES[name]
    assert await booked(memory, model, MESSAGES, json_answer(answer)) == spent


@pytest.mark.parametrize("usage", [{"speed": "fast"}, {}])
async def test_m24_in_a_stream(memory, usage):
    told = message(**usage)
    answer = streamed(
        {"type": "message_start", "message": {**told, "usage": {**told["usage"], "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "message_delta", "usage": {"output_tokens": 100}},
        {"type": "message_stop"},
    )
    assert await booked(memory, "claude-opus-4-6", MESSAGES, answer) == ("0.045" if usage else "0.0075")


# Gemini. 2.5 Pro: 1,000 at 1.25 and 100 at 10 are .00225; 3.1 Pro: at 2 and 12 .0032.


def content(grounding, **fields):
    candidate = {"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP", **fields}
    if grounding is not None:
        candidate["groundingMetadata"] = grounding
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 100}}


SEARCHED = {
    "webSearchQueries": ["one secret", "another"],
    "groundingChunks": [{"web": {"uri": "https://x"}}],
    "searchEntryPoint": {"renderedContent": "<div>"},
}
ON_A_MAP = {"groundingChunks": [{"maps": {"uri": "https://x"}}]}
GEMINIS: dict[str, tuple[str, dict | None, str]] = {
    "M25": ("gemini-2.5-pro", SEARCHED, "0.03725"),
    "the tool was not used": ("gemini-2.5-pro", {}, "0.00225"),
    "there was none": ("gemini-2.5-pro", None, "0.00225"),
    "without its queries": ("gemini-2.5-pro", {"groundingChunks": [{"web": {}}]}, "0.03725"),
    "a map": ("gemini-2.5-pro", ON_A_MAP, "0.02725"),
    # By the query.
    "Gemini 3": ("gemini-3.1-pro-preview", SEARCHED, "0.0312"),
    "Gemini 3, one query twice": ("gemini-3.1-pro-preview", {"webSearchQueries": ["a", "a", ""]}, "0.0172"),
    "a map of Gemini 3": ("gemini-3.1-pro-preview", ON_A_MAP, "0.0172"),
}


@pytest.mark.parametrize("name", GEMINIS)
async def test_the_bill_of_a_content(memory, name):
    model, grounding, spent = GEMINIS[name]
    body = {"contents": [{"parts": [{"text": "hi"}]}], "tools": [{"google_search": {}}]}
    assert await booked(memory, model, gemini_path(model), json_answer(content(grounding)), body=body) == spent


@pytest.mark.parametrize(("model", "spent"), [("gemini-2.5-pro", "0.03725"), ("gemini-3.1-pro-preview", "0.0312")])
async def test_m25_in_a_stream_that_tells_it_again(memory, model, spent):
    chunks = [content({"webSearchQueries": ["one secret"]}), content(SEARCHED), content(SEARCHED)]
    path = gemini_path(model, "streamGenerateContent")
    assert await booked(memory, model, path, streamed(*chunks)) == spent


# Responses. gpt-4.1: 1,000 at 2 and 100 at 8 are .0028.


def response(*items, **fields):
    usage = {"input_tokens": 1000, "output_tokens": 100}
    return {"model": "gpt-4.1-2025-04-14", "status": "completed", "output": list(items), "usage": usage, **fields}


def code(container="c1", **fields):
    return {"type": "code_interpreter_call", "container_id": container, "code": "1", **fields}


def searched(kind="search"):
    return {"type": "web_search_call", "status": "completed", "action": {"type": kind}}


FILES = {"type": "file_search_call", "queries": ["a"], "status": "completed"}
LARGE = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}
RESPONSES_OF = {
    "M26": (response(code()), "0.0328"),
    "in one container twice": (response(code(), code()), "0.0328"),
    "in two containers": (response(code(), code("c2")), "0.0628"),
    "in a large one": (response(code(), tools=[LARGE]), "0.1228"),
    "files": (response(FILES, FILES), "0.0078"),
    "searches, and a page that was opened": (response(searched(), searched("open_page"), searched()), "0.0228"),
    "searches that are billed": (
        response(searched(), searched(), tool_usage={"web_search": {"num_requests": 1}}),
        "0.0128",
    ),
    "searches of the preview": (response(searched(), tools=[{"type": "web_search_preview"}]), "0.0278"),
    "a shell in a container": (
        response({"type": "shell_call", "environment": {"type": "container_reference", "container_id": "c"}}),
        "0.0328",
    ),
    "a shell of the client's": (response({"type": "shell_call", "environment": {"type": "local"}}), "0.0028"),
    "functions": (response({"type": "function_call", "name": "f", "arguments": "{}"}, {"type": "mcp_call"}), "0.0028"),
    # 1,056 at 32.
    "an image of which nothing is told": (
        response({"type": "image_generation_call", "result": "AAAA", "quality": "medium", "size": "1024x1024"}),
        "0.036592",
    ),
    # 1,056 at 32 and 40 at 5.
    "an image": (
        response(
            {"type": "image_generation_call", "result": "AAAA"},
            tools=[{"type": "image_generation", "model": "gpt-image-1.5"}],
            tool_usage={"image_gen": {"input_tokens": 40, "output_tokens": 1056, "total_tokens": 1096}},
        ),
        "0.036792",
    ),
}


@pytest.mark.parametrize("name", RESPONSES_OF)
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_the_bill_of_a_response(memory, name, is_streamed):
    document, spent = RESPONSES_OF[name]
    done = [
        {"type": "response.output_item.done", "output_index": index, "item": item}
        for index, item in enumerate(document["output"])
    ]
    events = streamed(*done, {"type": "response.completed", "response": document})
    assert await booked(memory, "gpt-4.1", RESPONSES, events if is_streamed else json_answer(document)) == spent


async def test_m26_in_a_stream_that_breaks_off(memory):
    item = {"type": "response.output_item.done", "output_index": 0, "item": code()}
    spent = await booked(memory, "gpt-4.1", RESPONSES, streamed(item))
    # The input and the code, and the container.
    assert 0.03 < float(spent) < 0.0301


# Chats: what gateways and other providers tell.


def chat(*, message=None, usage=None, **fields):
    told = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, **(usage or {})}
    return {"choices": [{"message": {"content": "hi", **(message or {})}}], "usage": told, **fields}


MOONSHOTS = {"tool_calls": [{"type": "function", "function": {"name": "$web_search", "arguments": "{}"}}]}
CHATS = {
    # 1,000 at 2.5, 100 at 10, and the search that comes with each request.
    "a model that always searches": ("gpt-4o-search-preview", chat(), "0.0285"),
    # 1,000 and 100 at 1 are .0011.
    "a large context": ("perplexity/sonar", chat(usage={"search_context_size": "high"}), "0.0131"),
    "a small one": ("perplexity/sonar", chat(usage={"search_context_size": "low"}), "0.0061"),
    "nobody knows which": ("perplexity/sonar", chat(), "0.0131"),
    # Through LiteLLM: .00225 and .0105 for the tokens.
    "Gemini 2.5, three searches": (
        "gemini/gemini-2.5-pro",
        chat(usage={"prompt_tokens_details": {"web_search_requests": 3}}),
        "0.03725",
    ),
    "Claude, three searches": (
        "anthropic/claude-sonnet-4-5",
        chat(usage={"server_tool_use": {"web_search_requests": 3}}),
        "0.0345",
    ),
    "Claude, fast and in the US": (
        "anthropic/claude-opus-4-6",
        chat(usage={"speed": "fast", "inference_geo": "us"}),
        "0.0495",
    ),
    # 1,000 at 3 and 100 at 15 are .0045.
    "xAI, without its own cost": (
        "xai/grok-4",
        chat(usage={"server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 1}}),
        "0.0195",
    ),
    # 1,000 at .15 and 100 at .6 are .00021.
    "Groq's compound": (
        "groq/openai/gpt-oss-120b",
        chat(message={"executed_tools": [{"index": 0, "type": "search"}, {"index": 1, "type": "search"}]}),
        "0.01021",
    ),
}


@pytest.mark.parametrize("name", CHATS)
async def test_the_bill_of_a_chat(memory, name):
    model, answer, spent = CHATS[name]
    assert await booked(memory, model, CHAT, json_answer(answer)) == spent


@pytest.mark.parametrize(
    ("model", "answer", "fee"),
    [
        ("moonshot/kimi-k2-0905-preview", chat(message=MOONSHOTS), 0.005),
        ("zai/glm-4.6", chat(web_search=[{"title": "a", "link": "b"}]), 0.01),
    ],
)
async def test_searches_of_others(memory, model, answer, fee):
    without = await booked(memory, model, CHAT, json_answer(chat()))
    assert float(await booked(memory, model, CHAT, json_answer(answer))) == pytest.approx(2 * float(without) + fee)


# Images by the piece.


@pytest.mark.parametrize(
    ("model", "body", "spent"),
    [
        ("dall-e-3", {}, "0.04"),
        ("dall-e-3", {"size": "1024x1024", "quality": "standard"}, "0.04"),
        ("dall-e-3", {"size": "1792x1024"}, "0.08"),
        ("dall-e-3", {"size": "1024x1792", "quality": "hd"}, "0.12"),
        ("dall-e-2", {"size": "256x256", "n": 3}, "0.048"),
        ("imagen-4.0-fast-generate-001", {"n": 2}, "0.04"),
        ("xai/grok-imagine-image", {}, "0.02"),
    ],
)
async def test_images_by_size_and_quality(memory, model, body, spent):
    answer = json_answer({"data": [{"url": "https://x"}] * body.get("n", 1)})
    assert await booked(memory, model, IMAGES, answer, body=body) == spent


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"quality": "low", "size": "1024x1024"}, 272),
        ({"quality": "medium", "size": "1536x1024"}, 1568),
        ({"quality": "high"}, 6240),
        ({"size": "1024x1024"}, 4160),
    ],
)
async def test_images_by_tokens_that_no_usage_tells(memory, body, tokens):
    answer = json_answer({"data": [{"b64_json": "AAAA"}]})
    # Two tokens of a prompt at 5.
    spent = await booked(memory, "gpt-image-1.5", IMAGES, answer, body=body)
    assert float(spent) == pytest.approx(tokens * 32e-6, abs=1e-4)


# Groq bills ten seconds at least: of .111 an hour.
@pytest.mark.parametrize(("seconds", "spent"), [(3, "0.000308333"), (10, "0.000308333"), (20, "0.000616667")])
async def test_the_least_length_of_a_recording(memory, seconds, spent):
    answer = json_answer({"text": "hi", "usage": {"type": "duration", "seconds": seconds}})
    assert await booked(memory, "groq/whisper-large-v3", "/v1/audio/transcriptions", answer) == spent


# Long inputs: what counts for the threshold is all input, from a cache or not, and all classes are dearer above it.


def long_message(cached):
    told = message(cache_read_input_tokens=cached)
    return {**told, "model": "claude-sonnet-4-5"}


def long_content(prompt, cached):
    told = content(None)
    told["usageMetadata"] |= {"promptTokenCount": prompt, "cachedContentTokenCount": cached}
    return told


def long_chat(prompt, cached, **fields):
    usage = {"prompt_tokens": prompt, "total_tokens": prompt + 100, "prompt_tokens_details": {"cached_tokens": cached}}
    return chat(usage=usage, **fields)


LONG = {
    "Claude, at 200,000": ("claude-sonnet-4-5", MESSAGES, long_message(199_000), "0.0642"),
    # 1,000 at 6, 200,000 at .6, 100 at 22.5.
    "Claude, above": ("claude-sonnet-4-5", MESSAGES, long_message(200_000), "0.12825"),
    # 100,000 each at 1.25 and .125, 100 at 10.
    "Gemini, at 200,000": ("", gemini_path("gemini-2.5-pro"), long_content(200_000, 100_000), "0.1385"),
    # 100,001 at 2.5, 100,000 at .25, 100 at 15.
    "Gemini, above": ("", gemini_path("gemini-2.5-pro"), long_content(200_001, 100_000), "0.2765025"),
    # 72,000 at 5, 200,000 at .5, 100 at 30.
    "OpenAI, at 272,000": ("gpt-5.5", CHAT, long_chat(272_000, 200_000), "0.463"),
    # 72,001 at 10, 200,000 at 1, 100 at 45.
    "OpenAI, above": ("gpt-5.5", CHAT, long_chat(272_001, 200_000), "0.92451"),
    # Half of it.
    "OpenAI, above, flex": ("gpt-5.5", CHAT, long_chat(272_001, 200_000, service_tier="flex"), "0.462255"),
    # Theirs is that of 200,000 too: 2.5 and 5.
    "xAI, at 200,000": ("grok-4.3", CHAT, long_chat(200_000, 0), "0.5005"),
}


@pytest.mark.parametrize("name", LONG)
async def test_the_bill_of_a_long_input(memory, name):
    model, path, answer, spent = LONG[name]
    assert await booked(memory, model, path, json_answer(answer)) == spent


# The operator's own prices.

OWN = """
[models.prod-chat]
input = 1
output = 1
code_container = 0.02
[models.prod-chat.fast]
times = 2
[models.prod-chat.container_4g]
code_container = 0.5
"""


@pytest.mark.parametrize(
    ("fields", "spent"),
    [({}, "0.0211"), ({"service_tier": "fast"}, "0.0222"), ({"tools": [LARGE]}, "0.5011")],
)
async def test_own_prices_name_tools_and_modes(memory, tmp_path, fields, spent):
    path = tmp_path / "prices.toml"
    path.write_text(OWN)
    answer = json_answer(response(code(), **fields) | {"model": "prod-chat"})
    assert await booked(memory, "prod-chat", RESPONSES, answer, prices=str(path)) == spent


# What is not understood is never free.

UNPRICED = {
    "code that is sold by the hour": (
        "claude-opus-4-6",
        MESSAGES,
        message() | {"content": [CODE]},
        "claude-opus-4-6: code_container",
    ),
    "a tool that nobody knows": (
        "gpt-4.1",
        RESPONSES,
        response({"type": "dream_call", "id": "x"}),
        "gpt-4.1: dream_call",
    ),
    "a tool with a name that is none": (
        "gpt-4.1",
        RESPONSES,
        response({"type": "My secret_call", "id": "x"}),
        "gpt-4.1: a tool",
    ),
    "a tool of Claude's with a name that is no text": (
        "claude-opus-4-6",
        MESSAGES,
        message() | {"content": [{**CODE, "name": ["web_search"]}]},
        "claude-opus-4-6: a tool",
    ),
    "a tier of Bedrock's": (
        "",
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/converse",
        {
            "output": {"message": {"content": [{"text": "hi"}]}},
            "usage": {"inputTokens": 10, "outputTokens": 5},
            "performanceConfig": {"latency": "optimized"},
        },
        "regional.anthropic.claude-sonnet-4-5-20250929-v1:0: mode optimized",
    ),
    "a search of Nova's": (
        "",
        "/model/amazon.nova-pro-v1:0/converse",
        {
            "output": {"message": {"content": [{"text": "hi"}]}},
            "start": {"toolUse": {"type": "server_tool_use", "name": "nova_grounding"}},
            "usage": {"inputTokens": 10, "outputTokens": 5},
        },
        "amazon.nova-pro-v1:0: nova_grounding",
    ),
    "code of Groq's": (
        "groq/openai/gpt-oss-120b",
        CHAT,
        chat(message={"executed_tools": [{"type": "python"}]}),
        "openai/gpt-oss-120b: code_execution",
    ),
    "a search that DashScope counts": (
        "dashscope/qwen-plus",
        CHAT,
        chat(usage={"plugins": {"search": {"count": 1}}}),
        "qwen-plus: web_search",
    ),
    "a tool of a model with an own price": (
        "talk",
        RESPONSES,
        response(FILES) | {"model": "talk"},
        "talk: file_search",
    ),
    "a mode": (
        "claude-sonnet-4-5",
        MESSAGES,
        message(speed="fast") | {"model": "claude-sonnet-4-5"},
        "claude-sonnet-4-5: mode fast",
    ),
}


@pytest.mark.parametrize("name", UNPRICED)
async def test_what_has_no_price_is_noted(memory, caplog, name):
    model, path, answer, text = UNPRICED[name]
    await booked(memory, model, path, json_answer(answer))
    (note,) = await memory.reader.notes()
    assert (note.topic, note.text) == (Topic.UNPRICED, text)
    assert caplog.text.count("served, and booked without it") == 1
    assert "secret" not in caplog.text


async def test_what_has_one_is_not(memory, caplog):
    body: dict = {"contents": [], "tools": [{"google_search": {}}]}
    await booked(memory, "", gemini_path("gemini-2.5-pro"), json_answer(content(SEARCHED)), body=body)
    assert not await memory.reader.notes()
    assert "secret" not in caplog.text
