"""What price lists lack for the models that they have: fees for tools, modes (a speed, a region), sound and images.

`missing` adds these to what was found for a model. Where a list has one of them, that one counts; so an entry may go
when `genai-prices` has it. They are those of the providers' pricing pages, as of 29 November 2026:

- OpenAI: developers.openai.com/api/docs/pricing (built-in tools)
- Azure: azure.microsoft.com/pricing/details/azure-openai
- Anthropic: platform.claude.com/docs/en/about-claude/pricing (fast mode, data residency, web search)
- Google: ai.google.dev/gemini-api/docs/pricing (grounding; what is free each day is the account's, and not known here)
- xAI: docs.x.ai/developers/pricing (tools), Perplexity: docs.perplexity.ai/getting-started/pricing (request fees)
- Groq: groq.com/pricing (built-in tools, and the least length of a recording)
- Moonshot: platform.kimi.ai/docs/pricing/tools, Z.ai: docs.z.ai/guides/overview/pricing (web search)

What cannot be priced, since no answer says how long it ran: Anthropic's and Groq's code execution, sold by the hour.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.prices.job_prices import TRAINING_USD


class Missing(NamedTuple):
    """What the lists lack for the models of a provider ("": of any) whose name matches a pattern from its beginning.

    ``usd`` are prices of one use, or of a million tokens. A mode has such prices of its own (``by_mode``), or those of
    the model times so many hundredths of a percent, fees excepted (``basis_points_by_mode``).
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


CONTAINER_USD_BY_MEMORY: Final = {"container_4g": "0.12", "container_16g": "0.48", "container_64g": "1.92"}
"""A session of a container in which code runs, by its size; one of 1 GB costs less."""

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
        {mode: {UsageClass.CODE_CONTAINER: usd} for mode, usd in CONTAINER_USD_BY_MEMORY.items()},
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
