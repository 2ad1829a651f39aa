"""What answers of Bedrock's are booked at: converse, and the bodies, headers and metrics of each model's own."""

import base64
import json

import pytest

from budget_middleware.testing import json_answer
from tests.bills.booked import booked, frames

NOVA = "us.amazon.nova-pro-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"


def path_of(model, verb="converse"):
    return f"/model/{model}/{verb}"


def conversed(stop_reason="end_turn", *, counts=(1000, 100), **fields):
    usage = {"inputTokens": counts[0], "outputTokens": counts[1], "totalTokens": sum(counts)}
    content = [{"text": "hello"}]
    message = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop_reason}
    return {**message, "usage": usage, "metrics": {"latencyMs": 1}, **fields}


def with_headers(document, **counts):
    begin, *rest = json_answer(document)
    named = [
        (f"x-amzn-bedrock-{name.replace('_', '-')}".encode(), str(value).encode()) for name, value in counts.items()
    ]
    return ({**begin, "headers": [*begin["headers"], *named]}, *rest)


def wrapped(document):
    return {"bytes": base64.b64encode(json.dumps(document).encode()).decode()}


TIER = {"serviceTier": {"type": "priority"}}
FLEX = {"serviceTier": {"type": "flex"}}
FAST = {"performanceConfig": {"latency": "optimized"}}
# Nova Pro: 1,000 at .8 and 100 at 3.2 are .00112.
MODES = {
    "priority": (NOVA, TIER, TIER, "0.00196"),
    "priority that was not to be had": (NOVA, TIER, {"serviceTier": {"type": "default"}}, "0.00112"),
    "flex": (NOVA, {}, FLEX, "0.00056"),
    "latency optimized": (NOVA, FAST, FAST, "0.0014"),
    "latency optimized, as asked for": (NOVA, FAST, {}, "0.0014"),
    "the standard latency": (NOVA, {}, {"performanceConfig": {"latency": "standard"}}, "0.00112"),
    # Anthropic's models are sold in no tiers.
    "no tier of Claude": ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", {}, FLEX, "0.0045"),
}


@pytest.mark.parametrize("name", MODES)
async def test_the_mode_of_a_conversation(memory, name):
    model, asked, told, spent = MODES[name]
    assert await booked(memory, path_of(model), json_answer(conversed(**told)), **asked) == spent


INVOKED = {
    "priority": ({"service_tier": "priority"}, "0.00196"),
    "priority that was not to be had": ({"service_tier": "default"}, "0.00112"),
    "flex": ({"service_tier": "flex"}, "0.00056"),
    "latency optimized": ({"performanceconfig_latency": "optimized"}, "0.0014"),
    "the standard latency": ({"performanceconfig_latency": "standard"}, "0.00112"),
}


@pytest.mark.parametrize("name", INVOKED)
async def test_the_mode_of_an_invocation_is_in_its_headers(memory, name):
    """Where its client has asked for it, too: the body is the model's own."""
    told, spent = INVOKED[name]
    assert await booked(memory, path_of(NOVA, "invoke"), with_headers(conversed(), **told)) == spent


async def test_the_mode_of_a_stream_that_is_invoked_is_in_its_headers(memory):
    begin, *rest = frames(
        wrapped({"contentBlockDelta": {"delta": {"text": "hello"}, "contentBlockIndex": 0}}),
        wrapped({"messageStop": {"stopReason": "end_turn"}}),
        wrapped({"metadata": {"usage": {"inputTokens": 1000, "outputTokens": 100}, "metrics": {}}}),
    )
    headers = [*begin["headers"], (b"X-Amzn-Bedrock-Service-Tier", b"priority")]
    answer = ({**begin, "headers": headers}, *rest)
    assert await booked(memory, path_of(NOVA, "invoke-with-response-stream"), answer) == "0.00196"


async def test_the_mode_that_ends_a_stream(memory):
    answer = frames(
        {"delta": {"text": "hello"}, "contentBlockIndex": 0},
        {"stopReason": "end_turn"},
        {"usage": {"inputTokens": 1000, "outputTokens": 100, "totalTokens": 1100}, "metrics": {"latencyMs": 1}, **TIER},
    )
    assert await booked(memory, path_of(NOVA, "converse-stream"), answer) == "0.00196"


@pytest.mark.parametrize("streams", [False, True])
async def test_the_words_of_a_guardrail_cost_no_tokens(memory, streams):
    blocked = conversed("guardrail_intervened", counts=(0, 0))
    answer = json_answer(blocked)
    if streams:
        last = {"usage": blocked["usage"], "metrics": {}}
        answer = frames(
            {"delta": {"text": "Sorry."}, "contentBlockIndex": 0}, {"stopReason": blocked["stopReason"]}, last
        )
    assert await booked(memory, path_of(NOVA, "converse-stream" if streams else "converse"), answer) == "0.00"


async def test_what_a_guardrail_stopped_after_it_was_written_is_billed(memory):
    assert await booked(memory, path_of(NOVA), json_answer(conversed("guardrail_intervened"))) == "0.00112"


async def test_the_metrics_tell_all_of_the_output(memory):
    """Llama: .72 a million. Its first chunk tells the input, its last the output alone."""
    first = {"generation": "he", "prompt_token_count": 1000, "generation_token_count": 1, "stop_reason": None}
    last = {"generation": "llo", "prompt_token_count": None, "generation_token_count": 100, "stop_reason": "stop"}
    metrics = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 1000, "outputTokenCount": 100}}
    answer = frames(wrapped(first), wrapped({**last, **metrics}))
    assert await booked(memory, path_of(LLAMA, "invoke-with-response-stream"), answer) == "0.000792"


RANKED = {"results": [{"index": 0, "relevance_score": 0.9}]}
IN_HEADERS = {
    # Titan: .02. Cohere's embeddings: .1.
    "an embedding without a usage": (TITAN, {"embedding": [0.1]}, {"input_token_count": 1000}, "0.00002"),
    "an embedding of Cohere's": (
        "cohere.embed-english-v3",
        {"id": "x", "embeddings": [[0.1]], "response_type": "embeddings_floats", "texts": ["x"]},
        {"input_token_count": 1000},
        "0.0001",
    ),
    # Mistral Large: 4 and 12.
    "a text without a usage": (
        "mistral.mistral-large-2402-v1:0",
        {"outputs": [{"text": "hello", "stop_reason": "stop"}]},
        {"input_token_count": 1000, "output_token_count": 100},
        "0.0052",
    ),
    # Two tokens of output, by its text.
    "a text whose output no header tells": (
        "mistral.mistral-large-2402-v1:0",
        {"outputs": [{"text": "hello", "stop_reason": "stop"}]},
        {"input_token_count": 1000},
        None,
    ),
}


@pytest.mark.parametrize("name", IN_HEADERS)
async def test_a_usage_in_the_headers(memory, name):
    model, document, counts, spent = IN_HEADERS[name]
    answer = with_headers(document, **counts)
    told = await booked(memory, path_of(model, "invoke"), answer, inputText="hello")
    if spent is None:
        # By the text that was seen, never by the header alone.
        assert 0 < float(told) != 0.004
    else:
        assert told == spent


@pytest.mark.parametrize(("documents", "spent"), [(3, "0.002"), (101, "0.004")])
@pytest.mark.parametrize("counts", [{}, {"input_token_count": 20}])
async def test_a_ranking_is_sold_by_the_search(memory, documents, spent, counts):
    answer = with_headers(RANKED, **counts)
    request = {"query": "x", "documents": ["x"] * documents, "api_version": 2}
    assert await booked(memory, path_of("cohere.rerank-v3-5:0", "invoke"), answer, **request) == spent


# Sonnet 4.5 in a region: 3.3 and 16.5; beyond 200,000 tokens of input 6.6 and 24.75, and .66 for cached ones.
@pytest.mark.parametrize(
    ("model", "counts", "cached", "spent"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", (200_000, 100), 0, "0.66165"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", (300_000, 100), 0, "1.982475"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", (100_000, 100), 200_000, "0.794475"),
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", (300_000, 100), 0, "1.80225"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", (300_000, 100), 0, "1.80225"),
        # No dearer.
        ("global.anthropic.claude-sonnet-4-6", (300_000, 100), 0, "0.9015"),
    ],
)
async def test_a_long_context(memory, model, counts, cached, spent):
    document = conversed(counts=counts)
    document["usage"] |= {"cacheReadInputTokens": cached, "totalTokens": sum(counts) + cached}
    assert await booked(memory, path_of(model), json_answer(document), limits="key=99/month") == spent
