"""Prices that are in daily use and in no installed list, as providers publish them: the last source of all.

Models of which no list has a price, and what is missing from the prices of the others: fees for the use of tools,
modes (a speed, a region, a size of container) and sound. Where another source lists one of these, that one counts; so
an entry may go when `genai-prices` has it. They are those of the providers' pricing pages, as of 29 November 2026:

- OpenAI: developers.openai.com/api/docs/pricing (built-in tools, image generation), DALL-E as last published there
- Azure: azure.microsoft.com/pricing/details/azure-openai, and LiteLLM's `azure/container`
- Anthropic: platform.claude.com/docs/en/about-claude/pricing (fast mode, data residency, web search)
- Google: ai.google.dev/gemini-api/docs/pricing (grounding; what is free each day is the account's, and not known here)
- xAI: docs.x.ai/developers/pricing (tools), Perplexity: docs.perplexity.ai/getting-started/pricing (request fees)
- Groq: groq.com/pricing (built-in tools, and the least length of a recording)
- Moonshot: platform.kimi.ai/docs/pricing/tools, Z.ai: docs.z.ai/guides/overview/pricing (web search)

What cannot be priced, since no answer says how long it ran: Anthropic's and Groq's code execution, sold by the hour.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.pricing import Rate, Rates, UsageClass
from budget_middleware.prices.job_prices import TRAINING_USD, VIDEO_USD
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
    # Thirty seconds of music, from memory.
    ("google", "lyria-002"): {UsageClass.CALL: "0.06"},
    ("aws", "amazon.rerank"): {UsageClass.RERANK_SEARCH: "0.001"},
}


class Missing(NamedTuple):
    """What the lists lack for the models of a provider ("": of any) whose name matches a pattern from its beginning.

    USD for one use, or for a million tokens; so in modes, or there in hundredths of a percent of all that is no fee.
    """

    provider: str
    models: str
    usd: Mapping[UsageClass, str] = {}
    by_mode: Mapping[str, Mapping[UsageClass, str]] = {}
    basis_points_by_mode: Mapping[str, int] = {}
    least_audio_ms: int = 0


# Up to 2.5.
OLD_GEMINI: Final = r"gemini-(?:live-)?[12]\.|gemini-(?:flash|pro)-1|gemini-pro\Z"
_AWS_PLACE: Final = r"(?:[a-z-]+\.)?"
# Bedrock's latency-optimized inference.
_OPTIMIZED: Final = {"optimized": 12_500}
LONG_AT_AWS: Final = re.compile(rf"{_AWS_PLACE}anthropic\.claude-sonnet-4-(?:5-)?2025")
"""Models at Bedrock whose long contexts cost twice as much for input and half as much again for output."""
_SIZES: Final = ("search_low", "search_medium", "search_high")


def _request_fees(*usd: str) -> Mapping[str, Mapping[UsageClass, str]]:
    return {size: {UsageClass.REQUEST: price} for size, price in zip(_SIZES, usd, strict=True)}


# A session of a container in which code runs: of 1 GB, and of other sizes.
_BY_MEMORY: Final = {"container_4g": "0.12", "container_16g": "0.48", "container_64g": "1.92"}
_CONTAINER_USD: Final[dict[_Key, tuple[str, dict[str, str]]]] = {
    ("openai", "container"): ("0.03", _BY_MEMORY),
    ("azure", "container"): ("0.033", {}),
}

# The first that prices a unit or a mode counts.
MISSING: Final = (
    # These search with each request.
    Missing("openai", "gpt-4o(?:-mini)?-search-preview", {UsageClass.REQUEST: "0.025"}),
    Missing("openai", "gpt-5-search-api", {UsageClass.REQUEST: "0.01"}),
    *[Missing("openai", models, {unit: usd}) for models, unit, usd in TRAINING_USD],
    # The preview of the tool, with models that do not reason.
    Missing("openai", "gpt-4o|gpt-4.1", by_mode={"web_search_preview": {UsageClass.WEB_SEARCH: "0.025"}}),
    Missing(
        "openai",
        "",
        {UsageClass.WEB_SEARCH: "0.01", UsageClass.FILE_SEARCH: "0.0025", UsageClass.CODE_CONTAINER: "0.03"},
        {mode: {UsageClass.CODE_CONTAINER: usd} for mode, usd in _BY_MEMORY.items()},
    ),
    Missing(
        "azure",
        "",
        {UsageClass.WEB_SEARCH: "0.014", UsageClass.FILE_SEARCH: "0.0025", UsageClass.CODE_CONTAINER: "0.033"},
    ),
    Missing("anthropic", r"claude-opus-4-[67]\b", basis_points_by_mode={"fast": 60_000}),
    Missing(
        "anthropic",
        r"claude-[a-z]+-(?:4-[6-9]|[5-9])(?![0-9])",
        basis_points_by_mode={"us": 11_000},
    ),
    # What was bought as priority is bought beforehand.
    Missing("anthropic", "claude-", {UsageClass.WEB_SEARCH: "0.01"}, basis_points_by_mode={"priority": 10_000}),
    Missing("google", r"claude-[a-z]+-(?:4-[5-9]|[5-9])(?![0-9])", basis_points_by_mode={"regional": 11_000}),
    Missing("google", "claude-", {UsageClass.WEB_SEARCH: "0.01"}),
    Missing("google", "gemini-", basis_points_by_mode={"flex": 5_000, "priority": 18_000}),
    # All models but Anthropic's; a few cost some percent more or less than that.
    Missing("aws", r"(?!.*anthropic\.)", basis_points_by_mode={"flex": 5_000, "priority": 17_500}),
    Missing("aws", rf"{_AWS_PLACE}(?:amazon\.nova-pro|anthropic\.claude-3-5-haiku)", basis_points_by_mode=_OPTIMIZED),
    Missing("aws", rf"{_AWS_PLACE}meta\.llama3-1-", basis_points_by_mode=_OPTIMIZED),
    Missing("google", OLD_GEMINI, {UsageClass.GROUNDED_REQUEST: "0.035", UsageClass.MAPS_REQUEST: "0.025"}),
    Missing(
        "google",
        f"(?!{OLD_GEMINI})gemini-|deep-research-|antigravity-",
        {UsageClass.WEB_SEARCH: "0.014", UsageClass.MAPS_REQUEST: "0.014"},
    ),
    Missing(
        "x-ai",
        "grok-",
        {
            UsageClass.WEB_SEARCH: "0.005",
            UsageClass.SOCIAL_SEARCH: "0.005",
            UsageClass.CODE_EXECUTION: "0.005",
            UsageClass.FILE_SEARCH: "0.0025",
        },
    ),
    Missing("groq", "whisper-", least_audio_ms=10_000),
    Missing("groq", "", {UsageClass.WEB_SEARCH: "0.005"}),
    Missing("moonshotai", "", {UsageClass.WEB_SEARCH: "0.005"}),
    Missing("zai", "", {UsageClass.WEB_SEARCH: "0.01"}),
    Missing("perplexity", r"sonar\Z", {UsageClass.REQUEST: "0.012"}, _request_fees("0.005", "0.008", "0.012")),
    Missing(
        "perplexity", r"sonar-reasoning\Z", {UsageClass.REQUEST: "0.012"}, _request_fees("0.005", "0.008", "0.012")
    ),
    Missing(
        "perplexity",
        r"sonar(?:-reasoning)?-pro",
        {UsageClass.REQUEST: "0.014"},
        _request_fees("0.006", "0.01", "0.014"),
    ),
    # Models that hear and speak, and that published books price by text alone: what the realtime or direct model of
    # their family takes for sound. A sixteenth of it would be billed otherwise.
    Missing("", r"gpt-4o-audio-preview\Z", {UsageClass.INPUT_AUDIO: "40", UsageClass.OUTPUT_AUDIO: "80"}),
    Missing("", r"gpt-4o-mini-audio-preview\Z", {UsageClass.INPUT_AUDIO: "10", UsageClass.OUTPUT_AUDIO: "20"}),
    Missing("", r"openai/gpt-audio\Z", {UsageClass.INPUT_AUDIO: "32", UsageClass.OUTPUT_AUDIO: "64"}),
    Missing("", r"openai/gpt-audio-mini\Z", {UsageClass.INPUT_AUDIO: "10", UsageClass.OUTPUT_AUDIO: "20"}),
    # So with models that draw, where a host lists them by text alone: what their own provider takes for an image.
    Missing("openrouter", r"google/gemini-(?:2\.5-flash|3\.1-flash-lite)-image", {UsageClass.OUTPUT_IMAGE: "30"}),
    Missing("openrouter", r"google/gemini-3\.1-flash-image", {UsageClass.OUTPUT_IMAGE: "60"}),
    Missing("openrouter", r"google/gemini-3-pro-image", {UsageClass.OUTPUT_IMAGE: "120"}),
    Missing("", r"(?:openai/)?gpt-5-image\Z", {UsageClass.OUTPUT_IMAGE: "40"}),
    Missing("", r"(?:openai/)?gpt-5-image-mini\Z", {UsageClass.OUTPUT_IMAGE: "8"}),
    Missing("", r"(?:openai/)?gpt-5\.4-image-2\Z", {UsageClass.OUTPUT_IMAGE: "30"}),
)


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
