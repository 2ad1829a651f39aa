"""Our reading of a usage, and its price, held against those of `genai-prices`, which knows the providers' words too."""

import json
from datetime import UTC, datetime

import genai_prices
import pytest

from budget_middleware.apis import APIS
from budget_middleware.apis.base import Seen
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.pricing import cost_nanos
from budget_middleware.prices import PriceBook, UnknownModel

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BY_NAME = {api.name: api for api in APIS}

# api, provider and flavour by the library's names, model, answer
ANSWERS = [
    (
        "openai-chat",
        ("openai", "chat"),
        "gpt-4o",
        {
            "usage": {
                "prompt_tokens": 1_000,
                "prompt_tokens_details": {"cached_tokens": 300},
                "completion_tokens": 200,
                "completion_tokens_details": {"reasoning_tokens": 50},
            }
        },
    ),
    (
        "openai-chat",
        ("openai", "chat"),
        "gpt-audio",
        {
            "usage": {
                "prompt_tokens": 1_000,
                "prompt_tokens_details": {"audio_tokens": 900},
                "completion_tokens": 200,
                "completion_tokens_details": {"audio_tokens": 150},
            }
        },
    ),
    (
        "openai-chat",
        ("x-ai", "chat"),
        "grok-4-0709",
        {
            "usage": {
                "prompt_tokens": 1_000,
                "completion_tokens": 20,
                "total_tokens": 1_320,
                "completion_tokens_details": {"reasoning_tokens": 300},
            }
        },
    ),
    (
        "openai-responses",
        ("openai", "responses"),
        "gpt-5.2",
        {
            "usage": {
                "input_tokens": 300_000,
                "input_tokens_details": {"cached_tokens": 200_000},
                "output_tokens": 200,
                "output_tokens_details": {"reasoning_tokens": 50},
            }
        },
    ),
    ("openai-embeddings", ("openai", "embeddings"), "text-embedding-3-small", {"usage": {"prompt_tokens": 1_000}}),
    (
        "openai-images",
        ("openai", "images"),
        "gpt-image-1.5",
        {
            "usage": {
                "input_tokens": 1_000,
                "input_tokens_details": {"text_tokens": 100, "image_tokens": 900},
                "output_tokens": 4_160,
                "output_tokens_details": {"text_tokens": 160, "image_tokens": 4_000},
            }
        },
    ),
    (
        "anthropic-messages",
        ("anthropic", "default"),
        "claude-opus-4-5",
        {
            "type": "message",
            "usage": {
                "input_tokens": 100,
                "cache_read_input_tokens": 900,
                "cache_creation_input_tokens": 60,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 40},
                "output_tokens": 25,
                "server_tool_use": {"web_search_requests": 2},
            },
        },
    ),
    (
        "gemini",
        ("google", "default"),
        "gemini-2.5-pro",
        {
            "usageMetadata": {
                "promptTokenCount": 250_000,
                "cachedContentTokenCount": 100_000,
                "candidatesTokenCount": 100,
                "thoughtsTokenCount": 900,
            }
        },
    ),
    (
        "gemini",
        ("google", "default"),
        "gemini-2.5-flash",
        {
            "usageMetadata": {
                "promptTokenCount": 1_000,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 100},
                    {"modality": "AUDIO", "tokenCount": 900},
                ],
                "candidatesTokenCount": 100,
            }
        },
    ),
    (
        "bedrock",
        ("aws", "default"),
        "amazon.nova-pro-v1:0",
        {"usage": {"inputTokens": 1_000, "outputTokens": 200, "cacheReadInputTokens": 3_000}},
    ),
]


@pytest.mark.parametrize(("name", "flavour", "model", "answer"), ANSWERS, ids=lambda value: str(value)[:30])
def test_costs_agree(name, flavour, model, answer):
    provider, api_flavor = flavour
    theirs = genai_prices.extract_usage(
        {"model": model, "modelVersion": model, **answer}, provider_id=provider, api_flavor=api_flavor
    ).calc_price(genai_request_timestamp=NOW)
    seen = Seen()
    BY_NAME[name].read_json(json.loads(json.dumps(answer)), seen)
    rates = PriceBook({}, unknown=UnknownModel(None), clock=NOW.timestamp).resolve(model, provider=provider)
    assert rates
    assert seen.usage
    assert cost_nanos(rates, seen.usage) == nanos_from_usd(theirs.total_price) > 0
