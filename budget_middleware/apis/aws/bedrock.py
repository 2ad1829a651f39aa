"""Amazon Bedrock, where a gateway exposes its paths: converse, in one shape, and invoke, in each model's own."""

import binascii
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from budget_middleware.apis.anthropic.messages import read_message_event, with_tool_prompt
from budget_middleware.apis.aws.usage import usage_of
from budget_middleware.apis.bodies.reading import id_in, largest, list_of, mapping_of, name_in, parse_body
from budget_middleware.apis.counting.input import Count, count_input, text_bytes_of, utf8_bytes
from budget_middleware.apis.counting.media import ANTHROPIC_MEDIA
from budget_middleware.apis.counting.output import OutputFields
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.protocol.ordinary import EventPart, Ignored, OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.rerank import with_searches
from budget_middleware.apis.routes.paths import ends_in_after
from budget_middleware.apis.shared.errors import message_error
from budget_middleware.apis.shared.failures import read_bare_message
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.core.costs.outcome import Finish
from budget_middleware.core.costs.pricing import Usage

_MAXIMA: Final = (
    *("max_tokens", "max_tokens_to_sample", "max_completion_tokens", "max_gen_len", "max_new_tokens"),
    *("maxTokens", "maxTokenCount"),
)
_CONFIGS: Final = ("inferenceConfig", "textGenerationConfig", "inference_config")
# Where text is, however deep in an answer or event.
_TEXT_FIELDS: Final = ("text", "name", "input", "generation", "outputText", "completion", "redactedContent")
# What a model may have made besides, and what a delta of converse may hold that is known.
_MEDIA: Final = ("image", "images", "audio", "video", "document")
_DELTA: Final = OutputFields(texts=(), silent=("text", "toolUse", "toolResult", "reasoningContent", "citation", "type"))
_EVENTS: Final = ("contentBlockDelta", "contentBlockStart", "messageStop", "metadata")
# Why a model stopped, by the names of converse, of the models, and of Titan.
_END_REASONS: Final = ("stopReason", "stop_reason", "finish_reason", "completionReason")
_METRICS: Final = "amazon-bedrock-invocationMetrics"


class _ToolUse(EventPart, forbid_unknown_fields=True):
    input: str


class _Reasoning(EventPart, forbid_unknown_fields=True):
    text: str | None = None
    signature: Ignored = Ignored()


class _Delta(EventPart, forbid_unknown_fields=True):
    text: str | None = None
    tool_use: _ToolUse | None = msgspec.field(default=None, name="toolUse")
    reasoning: _Reasoning | None = msgspec.field(default=None, name="reasoningContent")


class ContentDelta(OrdinaryEvent, forbid_unknown_fields=True):
    """The ordinary event of converse: a piece of a block, with a padding."""

    delta: _Delta
    index: int = msgspec.field(name="contentBlockIndex")
    padding: str | None = msgspec.field(default=None, name="p")

    def add_to(self, seen: Seen) -> None:
        """Add the text."""
        delta = self.delta
        n_bytes = utf8_bytes(delta.text) if delta.text else 0
        if delta.tool_use is not None:
            n_bytes += utf8_bytes(delta.tool_use.input)
        if delta.reasoning is not None and delta.reasoning.text:
            n_bytes += utf8_bytes(delta.reasoning.text)
        if n_bytes:
            seen.take_text(n_bytes)


class Bedrock(JsonApi):
    """`POST …/model/MODEL/` and `invoke`, `invoke-with-response-stream`, `converse` or `converse-stream`."""

    name = "bedrock"
    provider = "aws.bedrock"
    path = ends_in_after(
        ("/model/",), "(?P<model>.+)/(?=[a-z])(?:invoke|invoke-with-response-stream|converse|converse-stream)"
    )
    media = ANTHROPIC_MEDIA
    ordinary_event = ContentDelta

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request, whose model is at Amazon whatever its name."""
        modes = _modes_of(body)
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        ask = replace(ask, provider="aws", service_tier=modes[-1] if modes else None, modes=modes)
        if "query" in body and (documents := list_of(body.get("documents"))):
            # A search of Cohere's, and there is no price for its tokens.
            ask = with_searches(ask, documents=len(documents), n_bytes=n_bytes)
        return with_tool_prompt(ask, body.get("tools") or mapping_of(body.get("toolConfig")).get("tools"))

    def count(self, body: Mapping[str, object]) -> Count:
        """Count all of it: each model has its own names for its input."""
        return count_input(body, self.media)

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The largest of the maxima that any model has."""
        holders = (body, *(mapping_of(body.get(config)) for config in _CONFIGS))
        return max((most for holder in holders if (most := largest(holder, *_MAXIMA)) is not None), default=None)

    def read_json(self, document: object, seen: Seen) -> None:
        """Read an answer or an event; those of models are in base64 inside the stream's own."""
        answer = mapping_of(document)
        if isinstance(inner := answer.get("bytes"), str):
            answer = mapping_of(parse_body(_decoded(inner)))
        read_bare_message(answer, seen)
        # Nova and converse have the same events, Nova inside an object that names them.
        for event in (answer, *(mapping_of(answer.get(name)) for name in _EVENTS)):
            _read_event(event, seen)
            seen.modes = _modes_of(event) or seen.modes
            # A prompt router tells by its ARN whom it has asked.
            router = mapping_of(mapping_of(event.get("trace")).get("promptRouter"))
            seen.served_model = id_in(router, "invokedModelId") or seen.served_model
        # What a model calls itself is priced as its maker's, not as Amazon's: the model asked for is billed.
        seen.model, seen.earlier_models = None, ()
        # Nor does a tier of its maker's count.
        seen.service_tier = next((mode for mode in seen.modes if mode != "optimized"), None)

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """A bare message."""
        return message_error(refusal)


def _modes_of(source: Mapping[str, object]) -> tuple[str, ...]:
    """The service tier, and whether latency was optimized: so in requests and in answers."""
    tier = name_in(mapping_of(source.get("serviceTier")), "type")
    is_optimized = mapping_of(source.get("performanceConfig")).get("latency") == "optimized"
    return tuple(filter(None, (tier, "optimized" if is_optimized else None)))


def _read_event(event: Mapping[str, object], seen: Seen) -> None:
    read_message_event(event, seen)
    for holder in (event, *map(mapping_of, list_of(event.get("results")))):
        for name in _END_REASONS:
            seen.take_reason(holder.get(name))
    if "choices" in event:
        read_openai_usage(event, seen)
    if "type" not in event and (n_bytes := _read_texts(event, seen)):
        seen.take_text(n_bytes)
    for name in ("start", "delta"):
        # A search of Nova's, which is no function of the client's.
        tool = mapping_of(mapping_of(event.get(name)).get("toolUse"))
        if tool.get("type") == "server_tool_use":
            seen.take_tool(tool.get("name"))
    if "contentBlockIndex" in event:
        seen.has_unread_output |= _DELTA.has_more(mapping_of(event.get("delta")))
    metrics = mapping_of(event.get(_METRICS))
    usage = usage_of(mapping_of(event.get("usage"))) or usage_of(event)
    if usage == Usage() and seen.finish is Finish.REFUSED:
        # The words of a guardrail, and no model was asked.
        seen.text_bytes = 0
    seen.take_usage(
        usage or _measured(usage_of(metrics), seen), contradiction=seen.contradiction if usage is None else ""
    )
    seen.terminal |= bool(metrics) or ("metrics" in event and usage is not None)


def _measured(metrics: Usage | None, seen: Seen) -> Usage | None:
    """The usage by the metrics that end a stream, which leave out what was read from a cache."""
    if metrics is None or seen.usage is None or not seen.usage.input_tokens:
        return metrics
    return replace(seen.usage, output_tokens=max(metrics.output_tokens, seen.usage.output_tokens))


def _read_texts(event: Mapping[str, object], seen: Seen) -> int:
    n_bytes = 0
    stack: list[object] = [event]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            n_bytes += sum(text_bytes_of(item[field]) for field in _TEXT_FIELDS if field in item)
            seen.has_unread_output |= any(item.get(field) for field in _MEDIA)
            stack.extend(child for field, child in item.items() if field not in (*_TEXT_FIELDS, *_EVENTS))
        elif isinstance(item, list):
            stack.extend(item)
    return n_bytes


def _decoded(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except ValueError:
        return b""
