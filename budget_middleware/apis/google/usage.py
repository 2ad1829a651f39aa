"""The usage that Gemini's answers report, and each chunk of a stream for all up to there."""

from collections.abc import Mapping
from typing import Final

from budget_middleware.apis.bodies.reading import first_count, list_of, mapping_of, name_in, shape_of, token_count
from budget_middleware.apis.google.fields import in_camel_case
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.protocol.usage_rules import latest, reconcile
from budget_middleware.core.costs.usage import Usage

# There is one for each kind of input or output.
_MOST_DETAILS: Final = 20
# The service tiers of Vertex AI, by what it calls its traffic.
TRAFFIC_TIERS: Final = {"ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}


def read_gemini_usage(answer: Mapping[str, object], seen: Seen) -> None:
    """Take over the usage of an answer, in the spelling of the API or of Google's SDKs."""
    usage = mapping_of(answer.get("usageMetadata") or _usage_in_camel_case(answer.get("usage_metadata")))
    tier = tier_name(name_in(usage, "serviceTier")) or TRAFFIC_TIERS.get(str(usage.get("trafficType")))
    seen.service_tier = tier or seen.service_tier
    prompt_tokens, output_tokens, thoughts, total = (
        token_count(usage.get(f"{part}TokenCount")) for part in ("prompt", "candidates", "thoughts", "total")
    )
    cached, tool_tokens = (first_count(usage, f"{part}TokenCount") for part in ("cachedContent", "toolUsePrompt"))
    # Google leaves out what is 0, and some gateways keep the total alone.
    has_output = output_tokens is not None or thoughts is not None
    all_output = _with_thoughts(
        output_tokens or 0, thoughts or 0, of_input=(prompt_tokens or 0) + tool_tokens, total=total
    )
    totals = reconcile(
        input_tokens=None if prompt_tokens is None else prompt_tokens + tool_tokens,
        output_tokens=all_output if has_output or prompt_tokens is not None else None,
        total=total,
        reasoning=thoughts or 0,
        cached=cached,
    )
    if totals is None:
        if has_output:
            seen.take_usage(Usage(output_tokens=all_output, reasoning_tokens=thoughts or 0))
        return
    of_input = [*list_of(usage.get("promptTokensDetails")), *list_of(usage.get("toolUsePromptTokensDetails"))]
    of_cached, of_output = usage.get("cacheTokensDetails"), usage.get("candidatesTokensDetails")
    if not of_output and seen.media:
        # What it was is not reported, but it was seen.
        of_output = [{"modality": seen.media.upper(), "tokenCount": output_tokens}]
    reported = Usage(
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        cached_input_tokens=cached,
        reasoning_tokens=totals.reasoning_tokens,
        input_audio_tokens=_tokens_of(of_input, "AUDIO"),
        cached_audio_tokens=_tokens_of(of_cached, "AUDIO"),
        output_audio_tokens=_tokens_of(of_output, "AUDIO"),
        # Pages of documents are images to it.
        input_image_tokens=_tokens_of(of_input, "IMAGE", "DOCUMENT"),
        cached_image_tokens=_tokens_of(of_cached, "IMAGE", "DOCUMENT"),
        output_image_tokens=_tokens_of(of_output, "IMAGE"),
        input_video_tokens=_tokens_of(of_input, "VIDEO"),
        output_video_tokens=_tokens_of(of_output, "VIDEO"),
    )
    contradiction = shape_of(totals.contradiction, usage) if totals.contradiction is not None else ""
    take_reported(reported, seen, has_output=has_output, contradiction=contradiction)


def take_reported(reported: Usage, seen: Seen, *, has_output: bool, contradiction: str = "") -> None:
    """Take over a usage; one that reports no output is only of the input, which the first chunks may report alone."""
    if not has_output and not reported.output_tokens:
        seen.input_usage = latest(seen.input_usage, reported)
    else:
        seen.take_usage(reported, contradiction=contradiction)


def take_input_as_whole(seen: Seen) -> None:
    """Where an answer has ended without any output, the reported input is the whole usage."""
    if seen.finish is not None and seen.usage is None and not seen.has_output:
        seen.take_usage(seen.input_usage)


def tier_name(name: str | None) -> str | None:
    """A service tier as the price book names it."""
    return name and name.lower().removeprefix("service_tier_")


def _with_thoughts(candidates: int, thoughts: int, *, of_input: int, total: int | None) -> int:
    """The output, thoughts included: these stand beside the candidates, unless the total makes them a part."""
    is_within = thoughts <= candidates and (total or 0) == of_input + candidates
    return candidates if is_within else candidates + thoughts


def _tokens_of(details: object, *modalities: str) -> int:
    entries = [mapping_of(entry) for entry in list_of(details)]
    return sum(token_count(entry.get("tokenCount")) or 0 for entry in entries if entry.get("modality") in modalities)


def _usage_in_camel_case(usage: object) -> Mapping[str, object]:
    """A usage that is written as in Google's SDKs, in the names of its API."""
    return {in_camel_case(name): _details_in_camel_case(value) for name, value in mapping_of(usage).items()}


def _details_in_camel_case(value: object) -> object:
    if not isinstance(value, list):
        return value
    entries = map(mapping_of, value[:_MOST_DETAILS])
    return [{in_camel_case(name): count for name, count in entry.items()} for entry in entries]
