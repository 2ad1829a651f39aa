"""Google's Gemini: content, whole or streamed as an array or as server-sent events, and embeddings."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final, Literal

import msgspec

from budget_middleware.apis.bodies.reading import (
    largest,
    largest_count,
    list_of,
    mapping_of,
    name_in,
    whole_number,
)
from budget_middleware.apis.counting.input import utf8_bytes
from budget_middleware.apis.counting.media import GEMINI_MEDIA
from budget_middleware.apis.counting.output import OutputFields
from budget_middleware.apis.google.fields import bare_model, both
from budget_middleware.apis.google.methods import GENERATES
from budget_middleware.apis.google.usage import (
    TRAFFIC_TIERS,
    read_gemini_usage,
    take_input_as_whole,
    take_reported,
    tier_name,
)
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.protocol.ordinary import Count, EventPart, FailureFields, Ignored, Name, OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import google_error
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.tools import declared_tools, take_grounding
from budget_middleware.core.costs.outcome import Finish, finish_of
from budget_middleware.core.costs.usage import Usage, UsageClass

MAX_CANDIDATES: Final = 128

_PART: Final = OutputFields(
    texts=("text", "functionCall", "executableCode", "codeExecutionResult"),
    silent=("thought", "thoughtSignature", "videoMetadata", "partMetadata"),
)
_EMBEDDING: Final = ends_in(":(?:embedContent|batchEmbedContents)")
# Models that draw do so unless told otherwise; all others have no price for it but that of text.
_OUTPUT_UNITS: Final = {
    "AUDIO": UsageClass.OUTPUT_AUDIO,
    "IMAGE": UsageClass.OUTPUT_IMAGE,
    "TEXT": UsageClass.OUTPUT,
    "": UsageClass.OUTPUT_IMAGE,
}
IMAGE_TOKENS: Final = 1_290
"""Of one image, as documented."""
_OWN_TOOLS: Final = ("functionDeclarations", "function_declarations")


class _Part(EventPart, forbid_unknown_fields=True):
    text: str | None = None
    thought: Ignored = Ignored()
    signature: Ignored = msgspec.field(default=Ignored(), name="thoughtSignature")


class _Content(EventPart):
    parts: list[_Part] | None = None


class _Candidate(EventPart, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    grounding_metadata: None = None


class _Tokens(EventPart, rename="camel", forbid_unknown_fields=True):
    # Of a kind that has a price of its own, the full reader takes the count.
    modality: Literal["TEXT"]
    token_count: Ignored = Ignored()


class _Usage(EventPart, rename="camel", forbid_unknown_fields=True):
    """A usage whose parts are within their totals, and these add up: there is nothing to reconcile."""

    prompt_token_count: Count
    total_token_count: Count
    candidates_token_count: Count | None = None
    thoughts_token_count: Count | None = None
    cached_content_token_count: Count | None = None
    prompt_tokens_details: list[_Tokens] | None = None
    candidates_tokens_details: list[_Tokens] | None = None
    cache_tokens_details: list[_Tokens] | None = None
    traffic_type: str | None = None
    service_tier: Name | None = None

    def __post_init__(self) -> None:
        adds_up = self.total_token_count == self.prompt_token_count + self.output_tokens
        if not (adds_up and (self.cached_content_token_count or 0) <= self.prompt_token_count):
            raise ValueError

    @property
    def output_tokens(self) -> int:
        return (self.candidates_token_count or 0) + (self.thoughts_token_count or 0)


class GeminiChunk(OrdinaryEvent, FailureFields, rename="camel", kw_only=True):
    """The ordinary chunk: text, and the usage of all up to there."""

    candidates: list[_Candidate]
    usage_metadata: _Usage | None = None
    model_version: Name | None = None
    # As Google's SDKs spell them; errors; what is no content.
    usage_in_snake_case: None = msgspec.field(default=None, name="usage_metadata")
    model_in_snake_case: None = msgspec.field(default=None, name="model_version")
    type: None = None
    object: None = None
    prompt_feedback: None = None
    embedding: msgspec.UnsetType = msgspec.UNSET
    embeddings: msgspec.UnsetType = msgspec.UNSET

    def add_to(self, seen: Seen) -> None:
        """Add text, model and usage."""
        n_bytes = 0
        for candidate in self.candidates:
            if candidate.finish_reason:
                seen.take_reason(candidate.finish_reason)
            if candidate.content is not None:
                n_bytes += sum(utf8_bytes(part.text) for part in candidate.content.parts or () if part.text)
        seen.take_text(n_bytes)
        if self.model_version:
            seen.take_model(self.model_version)
        if self.usage_metadata is not None:
            _take_usage(self.usage_metadata, seen)
        take_input_as_whole(seen)


def _take_usage(usage: _Usage, seen: Seen) -> None:
    if tier := tier_name(usage.service_tier) or TRAFFIC_TIERS.get(usage.traffic_type or ""):
        seen.service_tier = tier
    reported = Usage(
        input_tokens=usage.prompt_token_count,
        output_tokens=usage.output_tokens,
        cached_input_tokens=usage.cached_content_token_count or 0,
        reasoning_tokens=usage.thoughts_token_count or 0,
    )
    if seen.media and not usage.candidates_tokens_details:
        # The answer does not say what it was, but there was something.
        setattr(reported, f"output_{seen.media}_tokens", usage.candidates_token_count or 0)
    has_output = usage.candidates_token_count is not None or usage.thoughts_token_count is not None
    take_reported(reported, seen, has_output=has_output)


class Gemini(JsonApi):
    """`POST …/models/MODEL:generateContent`, `:streamGenerateContent`, `:embedContent`, `:batchEmbedContents`."""

    name = "gemini"
    provider = "gcp.gemini"
    path = GENERATES
    media = GEMINI_MEDIA
    ordinary_event: ClassVar[type[OrdinaryEvent] | None] = GeminiChunk
    ordinary_answer: ClassVar[type[OrdinaryEvent] | None] = GeminiChunk
    input_fields = ("contents", "content", "requests", "systemInstruction", "system_instruction")

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """Read a request. A body that names the model writes it with its collection."""
        ask = super().read_request(body, path=path, n_bytes=n_bytes, query=query)
        ask.model = bare_model(ask.model) if ask.model else None
        return ask

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request; what is cached with the provider, or fetched by its tools, it does not show."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        named = [str(name) for field in both("responseModalities") for name in list_of(_config(body).get(field))]
        modality = next((name for name in _OUTPUT_UNITS if name in named), "")
        return replace(
            ask,
            service_tier=tier_name(name_in(body, "serviceTier") or name_in(body, "service_tier")),
            hides_input=ask.hides_input or _hides_input(body),
            max_output_tokens=0 if _EMBEDDING.search(path) else ask.max_output_tokens,
            expected_output_tokens=IMAGE_TOKENS if modality == "IMAGE" else None,
            output_unit=_OUTPUT_UNITS[modality],
            tools=declared_tools(body),
        )

    def texts_in(self, body: Mapping[str, object]) -> list[object]:
        """The schema of the answer too, which is part of how it is to be generated."""
        names = (*both("responseSchema"), *both("responseJsonSchema"))
        return [*super().texts_in(body), *(_config(body).get(field) for field in names)]

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The maximum of a candidate, which includes its thoughts."""
        return largest(_config(body), *both("maxOutputTokens"))

    def thinking_tokens(self, body: Mapping[str, object]) -> int:
        """The budget for thoughts; one that the model chooses itself is negative, and none."""
        config = _config(body)
        thinking = mapping_of(config.get("thinkingConfig") or config.get("thinking_config"))
        return largest_count(thinking, *both("thinkingBudget")) if thinking else 0

    def choices(self, body: Mapping[str, object]) -> int:
        """The number of candidates."""
        numbers = (whole_number(_config(body), field, at_most=MAX_CANDIDATES) for field in both("candidateCount"))
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
        seen.take_model(name_in(answer, "modelVersion") or name_in(answer, "model_version"))
        read_gemini_usage(answer, seen)
        take_input_as_whole(seen)

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """Google's RPC status."""
        return google_error(refusal)


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


def _hides_input(body: Mapping[str, object]) -> bool:
    tools = map(mapping_of, list_of(body.get("tools")))
    is_cached = any(body.get(field) is not None for field in both("cachedContent"))
    return is_cached or any(tool.keys() - set(_OWN_TOOLS) for tool in tools)
