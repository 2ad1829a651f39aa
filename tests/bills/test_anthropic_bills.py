"""What Anthropic's messages are booked at, at Anthropic, at gateways and at Google, at published prices."""

import pytest

from budget_middleware.testing import json_answer
from tests.bills.booked import booked, events

MESSAGES = "/v1/messages"
SONNET = "claude-sonnet-4-5-20250929"


def message(model=SONNET, *, text="hello", **fields):
    content = [{"type": "text", "text": text}] if text else []
    usage = {"input_tokens": 1000, "output_tokens": 100}
    return {"type": "message", "model": model, "content": content, "stop_reason": "end_turn", "usage": usage, **fields}


def streamed(start, delta, *, text="hello", stop_reason="end_turn"):
    words = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}]
    return events(
        {"type": "message_start", "message": {"type": "message", "model": SONNET, "content": [], "usage": start}},
        *(words if text else ()),
        {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": delta},
        {"type": "message_stop"},
    )


WHOLE = {"input_tokens": 1000, "output_tokens": 100}
START = {"input_tokens": 1000, "output_tokens": 1}
ROUTED = {"input_tokens": 1000, "output_tokens": 100, "cost": 0.002, "is_byok": False}
OF_OPENAI = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}

# Sonnet 4.5: 1,000 at 3 and 100 at 15 are .0045.
CASES = {
    "OpenRouter's cost": (json_answer(message(usage=ROUTED)), "0.002"),
    "OpenRouter's cost in a stream": (streamed({"input_tokens": 0, "output_tokens": 0}, ROUTED), "0.002"),
    "a cost of 0 from who knows it": (json_answer(message(usage={**ROUTED, "cost": 0})), "0.00"),
    "with a key of one's own": (
        json_answer(
            message(usage={**ROUTED, "is_byok": True, "cost": 1e-4, "cost_details": {"upstream_inference_cost": 0.004}})
        ),
        "0.0041",
    ),
    "a gateway that keeps OpenAI's names": (json_answer(message(usage=OF_OPENAI)), "0.0045"),
    "OpenAI's names in a stream": (streamed({"prompt_tokens": 0, "completion_tokens": 0}, OF_OPENAI), "0.0045"),
    "a message that does not say that it is one": (
        json_answer({name: value for name, value in message().items() if name != "type"}),
        "0.0045",
    ),
    # On Anthropic's API, as of 2026, that is not billed.
    "a refusal before any output": (
        json_answer(message(text="", stop_reason="refusal", usage={"input_tokens": 1000, "output_tokens": 0})),
        "0.00",
    ),
    "the same in a stream": (streamed(START, {"output_tokens": 0}, text="", stop_reason="refusal"), "0.00"),
    "a refusal that searched before": (
        json_answer(
            message(
                text="",
                stop_reason="refusal",
                usage={"input_tokens": 9, "output_tokens": 0, "server_tool_use": {"web_search_requests": 2}},
            )
        ),
        "0.02",
    ),
    "a refusal in the midst": (streamed(START, {"output_tokens": 100}, stop_reason="refusal"), "0.0045"),
    # With 5 tokens of input, as estimated.
    "no input told at all": (
        events(
            {"type": "message_start", "message": {"type": "message", "content": []}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hello"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 500}},
            {"type": "message_stop"},
        ),
        "0.007515",
    ),
    # The searches write more to the cache than the start knew of, at the price of five minutes.
    "what searches write to the cache": (
        streamed(
            {
                **START,
                "cache_creation_input_tokens": 1000,
                "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 0},
            },
            {
                "input_tokens": 1000,
                "cache_creation_input_tokens": 9000,
                "output_tokens": 100,
                "server_tool_use": {"web_search_requests": 1},
            },
        ),
        "0.04825",
    ),
    "an end without output is no refusal": (
        json_answer(message(text="", usage={"input_tokens": 1000, "output_tokens": 0})),
        "0.003",
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_bill_of_a_message(memory, name):
    answer, spent = CASES[name]
    assert await booked(memory, MESSAGES, answer, model="claude-sonnet-4-5") == spent


def attempt(kind, model, input_tokens, output_tokens):
    named = {"model": model} if model else {}
    return {"type": kind, **named, "input_tokens": input_tokens, "output_tokens": output_tokens}


TAKES_OVER = attempt("fallback_message", "claude-opus-4-8", 532, 300)
# Fable 5: 10 and 50 a million; Opus 4.8: 5 and 25. 532 and 300 of the latter are .01016.
ATTEMPTS = {
    "that began to write": ((attempt("message", "claude-fable-5", 412, 120), TAKES_OVER), "0.02028"),
    "that is not named": ((attempt("message", None, 412, 120), TAKES_OVER), "0.02028"),
    "that wrote nothing": ((attempt("message", "claude-fable-5", 412, 0), TAKES_OVER), "0.01016"),
    "of several": (
        (
            attempt("message", "claude-fable-5", 412, 120),
            attempt("fallback_message", "claude-sonnet-4-5", 1000, 100),
            TAKES_OVER,
        ),
        "0.02478",
    ),
    "that goes on itself": (
        (attempt("message", "claude-opus-4-8", 266, 100), attempt("message", "claude-opus-4-8", 266, 200)),
        "0.01016",
    ),
}


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_an_attempt_of_another_model_is_billed_at_its_own_price(memory, name):
    iterations, spent = ATTEMPTS[name]
    usage = {"input_tokens": 532, "output_tokens": 300, "iterations": list(iterations)}
    answer = json_answer(message("claude-opus-4-8", usage=usage))
    fallbacks = [{"model": "claude-opus-4-8"}]
    assert await booked(memory, MESSAGES, answer, model="claude-fable-5", fallbacks=fallbacks) == spent


def at_google(model, verb="rawPredict", *, region="us-east5", vendor="anthropic"):
    return f"/v1/projects/p/locations/{region}/publishers/{vendor}/models/{model}:{verb}"


# From Claude 4.5 on, a tenth more in a region than on the global endpoint.
AT_GOOGLE = {
    "in a region": (at_google("claude-sonnet-4-5@20250929"), SONNET, "0.00495"),
    "in a group of regions": (at_google("claude-sonnet-4-5@20250929", region="eu"), SONNET, "0.00495"),
    "everywhere": (at_google("claude-sonnet-4-5@20250929", region="global"), SONNET, "0.0045"),
    "of an older model": (at_google("claude-sonnet-4@20250514"), "claude-sonnet-4-20250514", "0.0045"),
    "without a version": (at_google("claude-opus-4-6"), "claude-opus-4-6", "0.00825"),
}


@pytest.mark.parametrize("name", AT_GOOGLE)
@pytest.mark.parametrize("told", [{}, {"inference_geo": "not_available"}])
async def test_the_bill_of_a_message_at_google(memory, name, told):
    path, model, spent = AT_GOOGLE[name]
    assert await booked(memory, path, json_answer(message(model, usage={**WHOLE, **told}))) == spent


async def test_a_region_in_a_stream_at_google(memory):
    path = at_google("claude-sonnet-4-5@20250929", "streamRawPredict")
    assert await booked(memory, path, streamed(START, {"output_tokens": 100})) == "0.00495"


async def test_a_model_of_another_vendor_at_google(memory):
    """Mistral Large: 2 and 6."""
    answer = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}], "usage": OF_OPENAI}
    path = at_google("mistral-large-2411", vendor="mistralai")
    assert await booked(memory, path, json_answer(answer), model="mistral-large-2411") == "0.0026"


async def test_tokens_are_counted_for_free_at_google(memory):
    path = at_google("count-tokens")
    assert await booked(memory, path, json_answer({"input_tokens": 14}), model="claude-sonnet-4-5@20250929") == "0.00"
