"""Google's Gemini: content, whole or streamed as an array or as server-sent events, and embeddings."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.base import Ask, Refusal, Seen
from budget_middleware.apis.errors import google_error
from budget_middleware.apis.failures import read_failure
from budget_middleware.apis.json_api import JsonApi
from budget_middleware.apis.media import GEMINI_MEDIA
from budget_middleware.apis.output import OutputFields
from budget_middleware.apis.paths import ends_in, ends_in_behind
from budget_middleware.apis.reading import (
    first_count,
    largest,
    list_of,
    mapping_of,
    name_in,
    shape_of,
    text_in,
    token_count,
    whole_number,
)
from budget_middleware.apis.tools import declared_tools, take_grounding
from budget_middleware.apis.usage_rules import latest, reconcile
from budget_middleware.core.outcome import Finish, finish_of
from budget_middleware.core.pricing import Unit, Usage

MAX_CANDIDATES: Final = 128

_PART: Final = OutputFields(
    texts=("text", "functionCall", "executableCode", "codeExecutionResult"),
    silent=("thought", "thoughtSignature", "videoMetadata", "partMetadata"),
)
_EMBEDDING: Final = ends_in(":(?:embedContent|batchEmbedContents)")
# Models that draw do so unless told otherwise; all others have no price for it but that of text.
_OUTPUT_UNITS: Final = {
    "AUDIO": Unit.OUTPUT_AUDIO,
    "IMAGE": Unit.OUTPUT_IMAGE,
    "TEXT": Unit.OUTPUT,
    "": Unit.OUTPUT_IMAGE,
}
# There is one for each kind of input or output.
_MOST_DETAILS: Final = 20
# Of one image, as documented.
_IMAGE_TOKENS: Final = 1_290
_OWN_TOOLS: Final = ("functionDeclarations", "function_declarations")
# The service tiers of Vertex AI, by what it calls its traffic.
_TRAFFIC_TIERS: Final = {"ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}


class Gemini(JsonApi):
    """`POST …/models/MODEL:generateContent`, `:streamGenerateContent`, `:embedContent`, `:batchEmbedContents`."""

    name = "gemini"
    provider = "gcp.gemini"
    path = ends_in_behind(
        "/models/", "(?P<model>.+):(?=[a-z])(?:generateContent|streamGenerateContent|embedContent|batchEmbedContents)"
    )
    media = GEMINI_MEDIA
    input_fields = ("contents", "content", "requests", "systemInstruction", "system_instruction")

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request; what is cached with the provider, or fetched by its tools, it does not show."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        named = [str(name) for field in _both("responseModalities") for name in list_of(_config(body).get(field))]
        modality = next((name for name in _OUTPUT_UNITS if name in named), "")
        return replace(
            ask,
            service_tier=_tier_name(text_in(body, "serviceTier") or text_in(body, "service_tier")),
            hides_input=ask.hides_input or _hides_input(body),
            max_output_tokens=0 if _EMBEDDING.search(path) else ask.max_output_tokens,
            expected_output_tokens=_IMAGE_TOKENS if modality == "IMAGE" else None,
            output_unit=_OUTPUT_UNITS[modality],
            tools=declared_tools(body),
        )

    def texts_in(self, body: Mapping[str, object]) -> list[object]:
        """The schema of the answer too, which is part of how it is to be generated."""
        names = (*_both("responseSchema"), *_both("responseJsonSchema"))
        return [*super().texts_in(body), *(_config(body).get(field) for field in names)]

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The maximum of a candidate, which includes its thoughts."""
        return largest(_config(body), *_both("maxOutputTokens"))

    def choices(self, body: Mapping[str, object]) -> int:
        """The number of candidates."""
        numbers = (whole_number(_config(body), field, at_most=MAX_CANDIDATES) for field in _both("candidateCount"))
        return max(number or 1 for number in numbers)

    def read_json(self, document: object, seen: Seen) -> None:
        """Read an answer, or a chunk of a stream, whose usage counts all up to there."""
        answer = mapping_of(document)
        read_failure(answer, seen)
        if isinstance(candidates := answer.get("candidates"), list):
            seen.take_text(sum(_read_parts(mapping_of(candidate), seen) for candidate in candidates))
        if reason := mapping_of(answer.get("promptFeedback")).get("blockReason"):
            seen.take_finish(finish_of(reason) or Finish.REFUSED)
        is_embedding = "embedding" in answer or "embeddings" in answer
        seen.readable |= is_embedding
        seen.has_results |= is_embedding
        seen.model = name_in(answer, "modelVersion") or name_in(answer, "model_version") or seen.model
        told = answer.get("usageMetadata") or _in_camel_case(answer.get("usage_metadata"))
        _read_usage(mapping_of(told), seen)
        if seen.finish is not None and seen.usage is None and not seen.has_output:
            # It has ended without any: what was told of the input is the whole.
            seen.take_usage(seen.input_usage)

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """Google's RPC status."""
        return google_error(refusal)


def _read_usage(usage: Mapping[str, object], seen: Seen) -> None:
    tier = _tier_name(name_in(usage, "serviceTier")) or _TRAFFIC_TIERS.get(str(usage.get("trafficType")))
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
        # What it was is not told, but it was seen.
        of_output = [{"modality": seen.media.upper(), "tokenCount": output_tokens}]
    told = Usage(
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
    if not has_output and not totals.output_tokens:
        # The first chunks may tell the input alone; so does an answer without output.
        seen.input_usage = latest(seen.input_usage, told)
    else:
        seen.take_usage(told, doubt=shape_of(totals.doubt, usage) if totals.doubt is not None else "")


def _with_thoughts(candidates: int, thoughts: int, *, of_input: int, total: int | None) -> int:
    """The output, thoughts included: these stand beside the candidates, unless the total makes them a part."""
    is_within = thoughts <= candidates and (total or 0) == of_input + candidates
    return candidates if is_within else candidates + thoughts


def _tokens_of(details: object, *modalities: str) -> int:
    entries = [mapping_of(entry) for entry in list_of(details)]
    return sum(token_count(entry.get("tokenCount")) or 0 for entry in entries if entry.get("modality") in modalities)


def _read_parts(candidate: Mapping[str, object], seen: Seen) -> int:
    """The bytes of generated text in a candidate; `inlineData`, an image or sound, is no text."""
    seen.take_reason(candidate.get("finishReason"))
    if "groundingMetadata" in candidate:
        take_grounding(mapping_of(candidate["groundingMetadata"]), seen)
    n_bytes = 0
    for part in map(mapping_of, list_of(mapping_of(candidate.get("content")).get("parts"))):
        n_bytes += _PART.read(part, seen)
        if "inlineData" in part:
            kind = str(mapping_of(part["inlineData"]).get("mimeType")).partition("/")[0]
            seen.media = kind if kind in ("image", "audio") else seen.media
    return n_bytes


def _config(body: Mapping[str, object]) -> Mapping[str, object]:
    return mapping_of(body.get("generationConfig") or body.get("generation_config"))


def _both(name: str) -> tuple[str, str]:
    """A field in the two ways in which it may be written."""
    return name, re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _in_camel_case(usage: object) -> Mapping[str, object]:
    """A usage that is written as in Google's SDKs, in the names of its API."""
    return {_camel(name): _details_in_camel_case(value) for name, value in mapping_of(usage).items()}


def _details_in_camel_case(value: object) -> object:
    if not isinstance(value, list):
        return value
    return [{_camel(name): count for name, count in mapping_of(entry).items()} for entry in value[:_MOST_DETAILS]]


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


def _hides_input(body: Mapping[str, object]) -> bool:
    tools = map(mapping_of, list_of(body.get("tools")))
    is_cached = any(body.get(field) is not None for field in _both("cachedContent"))
    return is_cached or any(tool.keys() - set(_OWN_TOOLS) for tool in tools)


def _tier_name(name: str | None) -> str | None:
    return name and name.lower().removeprefix("service_tier_")
