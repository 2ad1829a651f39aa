"""Models that are in daily use and in no installed list, at their providers' prices: the last source of all.

Where another source lists one of these, that one counts; so an entry may go when `genai-prices` has it. They are those
of the providers' pricing pages, as of 29 November 2026: OpenAI's developers.openai.com/api/docs/pricing, and DALL-E as
last published there; containers at Azure as LiteLLM's `azure/container` has them. What lists lack for models that they
do have stands in `fees_and_modes`.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from budget_middleware.core.costs.pricing import Rate, Rates, UsageClass
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.prices.fees_and_modes import CONTAINER_USD_BY_MEMORY
from budget_middleware.prices.job_prices import VIDEO_USD
from budget_middleware.prices.units import MILLION, PER, nanos_per_million

_Key = tuple[str, str]
_Tiers = tuple[tuple[int, str], ...]

GAPS: Final = "built-in gaps"
_TEXT: Final = (UsageClass.INPUT, UsageClass.CACHED_INPUT, UsageClass.OUTPUT)
_FIREWORKS: Final = "accounts/fireworks/models/"

_RESEARCH: Final = ("pro-preview-12-2025", "preview-04-2026", "max-preview-04-2026")
# (provider, model) -> USD per million of input, cached input and output.
_TEXT_USD: Final = {
    ("openai", "ft:gpt-4.1"): ("3", "0.75", "12"),
    ("openai", "ft:gpt-4.1-mini"): ("0.8", "0.2", "3.2"),
    ("openai", "ft:gpt-4.1-nano"): ("0.2", "0.05", "0.8"),
    ("openai", "ft:o4-mini"): ("4", "1", "16"),
    ("fireworks", f"{_FIREWORKS}deepseek-r1"): ("3", "3", "8"),
    ("fireworks", f"{_FIREWORKS}deepseek-v3"): ("0.9", "0.9", "0.9"),
    ("fireworks", f"{_FIREWORKS}deepseek-v3p1"): ("0.56", "0.56", "1.68"),
    ("fireworks", f"{_FIREWORKS}kimi-k2-instruct"): ("0.6", "0.6", "2.5"),
    ("fireworks", f"{_FIREWORKS}kimi-k2-instruct-0905"): ("0.6", "0.6", "2.5"),
    ("dashscope", "qwen-max"): ("1.6", "0.64", "6.4"),
    ("openai", "ft:davinci-002"): ("12", "12", "12"),
    ("openai", "ft:babbage-002"): ("1.6", "1.6", "1.6"),
    ("mistral", "devstral-medium"): ("0.4", "0.04", "2"),
    ("mistral", "devstral-medium-2507"): ("0.4", "0.04", "2"),
    ("ai21", "jamba-large"): ("2", "2", "8"),
    ("ai21", "jamba-large-1.6"): ("2", "2", "8"),
    ("ai21", "jamba-large-1.7"): ("2", "2", "8"),
    ("ai21", "jamba-mini"): ("0.2", "0.2", "0.4"),
    ("ai21", "jamba-mini-1.6"): ("0.2", "0.2", "0.4"),
    ("ai21", "jamba-mini-1.7"): ("0.2", "0.2", "0.4"),
    ("together", "qwen/qwen2.5-72b-instruct-turbo"): ("1.2", "1.2", "1.2"),
    ("novita", "deepseek/deepseek-v3.1"): ("0.27", "0.135", "1"),
    ("novita", "deepseek/deepseek-v3.1-terminus"): ("0.27", "0.135", "1"),
    ("azure", "gpt-oss-120b"): ("0.15", "0.15", "0.6"),
    ("azure", "deepseek-r1"): ("1.35", "1.35", "5.4"),
    ("azure", "deepseek-v3"): ("1.14", "1.14", "4.56"),
    ("azure", "deepseek-v3-0324"): ("1.14", "1.14", "4.56"),
    ("azure", "deepseek-v3.1"): ("1.23", "1.23", "4.94"),
    ("azure", "deepseek-v3.2"): ("0.58", "0.58", "1.68"),
    ("azure", "kimi-k2-thinking"): ("0.6", "0.6", "2.5"),
    ("azure", "kimi-k2.5"): ("0.6", "0.1", "3"),
    ("together", "moonshotai/kimi-k2-instruct"): ("1", "1", "3"),
    ("fireworks", f"{_FIREWORKS}llama-v3p3-70b-instruct"): ("0.9", "0.9", "0.9"),
    ("google", "mistral-large-2411"): ("2", "2", "6"),
    # Agents cost what their model does: Gemini 3.1 Pro, and Gemini 3.8 Flash without what is taken off in 2026.
    **{("google", f"deep-research-{kind}"): ("2", "0.2", "12") for kind in _RESEARCH},
    **{("google", f"antigravity-preview-{month}-2026"): ("1.5", "0.15", "7.5") for month in ("05", "09")},
    ("google", "meta/llama-3.3-70b-instruct-maas"): ("0.72", "0.72", "0.72"),
    ("zai", "glm-4.5-flash"): ("0", "0", "0"),
    ("aws", "ai21.jamba-1-5-large"): ("2", "2", "8"),
    ("aws", "ai21.jamba-1-5-mini"): ("0.2", "0.2", "0.4"),
    ("aws", "deepseek.v3"): ("0.58", "0.58", "1.68"),
    ("aws", "cohere.command-r"): ("0.5", "0.5", "1.5"),
    ("aws", "cohere.command-r-plus"): ("3", "3", "15"),
}
# (provider, model) -> USD per million of input, where that is all that is sold.
_INPUT_USD: Final = {
    ("cohere", "embed-english-v3.0"): "0.1",
    ("cohere", "embed-english-light-v3.0"): "0.1",
    ("cohere", "embed-multilingual-v3.0"): "0.1",
    ("cohere", "embed-multilingual-light-v3.0"): "0.1",
    ("aws", "cohere.embed-english-v3"): "0.1",
    ("aws", "cohere.embed-multilingual-v3"): "0.1",
    ("google", "text-embedding-004"): "0.1",
    ("google", "text-embedding-005"): "0.1",
    ("google", "text-multilingual-embedding-002"): "0.1",
    ("voyageai", "rerank-2"): "0.05",
    ("voyageai", "rerank-2-lite"): "0.02",
    ("voyageai", "rerank-2.5"): "0.05",
    ("voyageai", "rerank-2.5-lite"): "0.02",
    ("jina", "jina-reranker-m0"): "0.05",
    ("jina", "jina-reranker-v2-base-multilingual"): "0.05",
    ("jina", "jina-reranker-v3.5"): "0.05",
}
# The same where it depends on the length of the input: (from so many input tokens, USD).
_TIERED_USD: Final[dict[_Key, dict[UsageClass, _Tiers]]] = {
    ("dashscope", "qwen3-max"): {
        UsageClass.INPUT: ((0, "1.2"), (32_000, "2.4"), (128_000, "3")),
        UsageClass.OUTPUT: ((0, "6"), (32_000, "12"), (128_000, "15")),
    },
    ("dashscope", "qwen-turbo"): {
        UsageClass.INPUT: ((0, "0.05"),),
        UsageClass.OUTPUT: ((0, "0.2"),),
        UsageClass.REASONING: ((0, "0.5"),),
    },
    ("dashscope", "qwen-flash"): {
        UsageClass.INPUT: ((0, "0.05"), (256_000, "0.25")),
        UsageClass.OUTPUT: ((0, "0.4"), (256_000, "2")),
    },
    ("dashscope", "qwen3-coder-plus"): {
        UsageClass.INPUT: ((0, "1"), (32_000, "1.8"), (128_000, "3"), (256_000, "6")),
        UsageClass.CACHED_INPUT: ((0, "0.1"), (32_000, "0.18"), (128_000, "0.3"), (256_000, "0.6")),
        UsageClass.OUTPUT: ((0, "5"), (32_000, "9"), (128_000, "15"), (256_000, "60")),
    },
    ("dashscope", "qwen3-coder-flash"): {
        UsageClass.INPUT: ((0, "0.3"), (32_000, "0.5"), (128_000, "0.8"), (256_000, "1.6")),
        UsageClass.CACHED_INPUT: ((0, "0.08"), (32_000, "0.12"), (128_000, "0.2"), (256_000, "0.4")),
        UsageClass.OUTPUT: ((0, "1.5"), (32_000, "2.5"), (128_000, "4"), (256_000, "9.6")),
    },
    ("dashscope", "qwen-plus"): {
        UsageClass.INPUT: ((0, "0.4"), (256_000, "1.2")),
        UsageClass.OUTPUT: ((0, "1.2"), (256_000, "3.6")),
        UsageClass.REASONING: ((0, "4"), (256_000, "12")),
    },
}
# (provider, model) -> USD for an image, then for one in other sizes and qualities, by the names of these.
_WIDE: Final = {
    "1024x1792": "0.08",
    "1792x1024": "0.08",
    "hd": "0.08",
    "hd/1024x1792": "0.12",
    "hd/1792x1024": "0.12",
}
_IMAGE_USD: Final[dict[_Key, tuple[str, dict[str, str]]]] = {
    ("openai", "dall-e-2"): ("0.02", {"512x512": "0.018", "256x256": "0.016"}),
    ("openai", "dall-e-3"): ("0.04", _WIDE),
    ("azure", "dall-e-3"): ("0.04", _WIDE),
    ("google", "imagen-3.0-generate-001"): ("0.04", {}),
    ("google", "imagen-3.0-generate-002"): ("0.04", {}),
    ("google", "imagen-3.0-fast-generate-001"): ("0.02", {}),
    ("google", "imagen-4.0-generate-001"): ("0.04", {}),
    ("google", "imagen-4.0-ultra-generate-001"): ("0.06", {}),
    ("google", "imagen-4.0-fast-generate-001"): ("0.02", {}),
    # From memory: no list has these.
    ("google", "imagen-3.0-capability-001"): ("0.04", {}),
    ("google", "imagen-4.0-upscale-preview"): ("0.06", {}),
    ("google", "imagen-product-recontext-preview-06-30"): ("0.12", {}),
    ("google", "imagegeneration"): ("0.02", {}),
    ("google", "virtual-try-on-001"): ("0.06", {}),
    ("x-ai", "grok-2-image"): ("0.07", {}),
    ("x-ai", "grok-imagine-image"): ("0.02", {}),
    ("x-ai", "grok-imagine-image-quality"): ("0.05", {}),
    ("x-ai", "grok-imagine-image-pro"): ("0.07", {}),
}

# (provider, model) -> USD for an hour of sound, or for a search.
_OTHER_USD: Final[dict[_Key, dict[UsageClass, str]]] = {
    # The name without a version is written by gateways; the version of the day costs 0.003 a minute.
    ("mistral", "voxtral-mini-transcribe"): {UsageClass.AUDIO_MS: "0.18"},
    ("openai", "tts-1-1106"): {UsageClass.CHARACTER: "15"},
    ("openai", "tts-1-hd-1106"): {UsageClass.CHARACTER: "30"},
    ("cohere", "rerank-v4.0-pro"): {UsageClass.RERANK_SEARCH: "0.0025"},
    ("cohere", "rerank-v4.0-fast"): {UsageClass.RERANK_SEARCH: "0.002"},
    ("cohere", "rerank-v3.5"): {UsageClass.RERANK_SEARCH: "0.002"},
    ("cohere", "rerank-english-v3.0"): {UsageClass.RERANK_SEARCH: "0.002"},
    ("cohere", "rerank-multilingual-v3.0"): {UsageClass.RERANK_SEARCH: "0.002"},
    ("aws", "cohere.rerank-v3-5"): {UsageClass.RERANK_SEARCH: "0.002"},
    # Thirty seconds of music; not checked against a page.
    ("google", "lyria-002"): {UsageClass.CALL: "0.06"},
    ("aws", "amazon.rerank"): {UsageClass.RERANK_SEARCH: "0.001"},
}


# A session of a container in which code runs: of 1 GB, and of other sizes.
_CONTAINER_USD: Final[dict[_Key, tuple[str, dict[str, str]]]] = {
    ("openai", "container"): ("0.03", CONTAINER_USD_BY_MEMORY),
    ("azure", "container"): ("0.033", {}),
}


class Gaps:
    """These prices as a source."""

    name = GAPS

    def rates(self, provider: str, model: str, *, at: datetime) -> Rates | None:  # noqa: ARG002 - these do not change
        return _RATES.get((provider, model))

    def sellers(self, model: str, *, at: datetime) -> Iterator[Rates]:  # noqa: ARG002 - none is sold by several
        return iter(())


def rate_of(unit: UsageClass, usd: str) -> Rate:
    return Rate(nanos_per_million(Decimal(usd), per=PER.get(unit, MILLION)))


def _rates(key: _Key, usd: Mapping[UsageClass, str]) -> Rates:
    return _tiered(key, {unit: ((0, price),) for unit, price in usd.items()})


def _tiered(key: _Key, usd: Mapping[UsageClass, _Tiers]) -> Rates:
    by_unit = {}
    for unit, tiers in usd.items():
        (_, base), *further = [(above, nanos_from_usd(price)) for above, price in tiers]
        by_unit[unit] = Rate(base, tuple(further))
    return Rates(model=key[1], provider=key[0], by_unit=by_unit)


def _other(key: _Key, usd: Mapping[UsageClass, str]) -> Rates:
    by_unit = {unit: rate_of(unit, price) for unit, price in usd.items()}
    return Rates(model=key[1], provider=key[0], by_unit=by_unit)


def _by_size(key: _Key, unit: UsageClass, usd: str, usd_by_mode: Mapping[str, str]) -> Rates:
    return Rates(
        model=key[1],
        provider=key[0],
        by_unit={unit: rate_of(unit, usd)},
        by_mode={mode: {unit: rate_of(unit, price)} for mode, price in usd_by_mode.items()},
    )


_RATES: Final = {
    **{key: _rates(key, dict(zip(_TEXT, usd, strict=True))) for key, usd in _TEXT_USD.items()},
    **{key: _rates(key, {UsageClass.INPUT: usd}) for key, usd in _INPUT_USD.items()},
    **{key: _other(key, usd) for key, usd in _OTHER_USD.items()},
    **{key: _by_size(key, UsageClass.IMAGE, *usd) for key, usd in _IMAGE_USD.items()},
    **{key: _by_size(key, UsageClass.VIDEO_MS, *usd) for key, usd in VIDEO_USD.items()},
    **{key: _tiered(key, usd) for key, usd in _TIERED_USD.items()},
    **{key: _by_size(key, UsageClass.CODE_CONTAINER, *usd) for key, usd in _CONTAINER_USD.items()},
}
