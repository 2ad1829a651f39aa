"""Typed structs for ordinary answers and stream chunks of chats and completions: text, function calls, usage.

See `ordinary` for the rules that these types follow; `chat` and `openai_usage` read everything else.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from budget_middleware.apis.counting.input import utf8_bytes
from budget_middleware.apis.protocol.ordinary import Count, EventPart, FailureFields, Ignored, Name, OrdinaryEvent, Zero
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.usage import Usage

# Quotes inside a JSON string are escaped, so a match is always a key.
_NULL_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null(?=\s*[,}])|(?<=\{)\s*"usage"\s*:\s*null\s*,')
# As most serializers write it.
_USUAL_NULLS: Final = (b',"usage":null', b', "usage": null')
# `in` finds a number in bytes several times as fast as it finds bytes.
_BACKSLASH: Final = ord("\\")


# A name that begins otherwise is a tool of the provider.
_FunctionName = Annotated[str, msgspec.Meta(pattern="^[^$]")]


class _CalledFunction(EventPart, forbid_unknown_fields=True):
    name: _FunctionName | None = None
    arguments: str | None = None


class _ToolCall(EventPart, forbid_unknown_fields=True):
    function: _CalledFunction | None = None
    index: Ignored = Ignored()
    id: Ignored = Ignored()
    type: Ignored = Ignored()


class _Message(EventPart, forbid_unknown_fields=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: None = None
    audio: None = None
    role: Ignored = Ignored()
    annotations: Ignored = Ignored()

    def text_bytes(self) -> int:
        """The bytes of generated text."""
        content, n_bytes = self.content, 0
        if content:
            n_bytes = len(content) if content.isascii() else utf8_bytes(content)
        # Nearly every message of a stream has content alone.
        if self.reasoning_content or self.reasoning or self.refusal:
            for text in (self.reasoning_content, self.reasoning, self.refusal):
                n_bytes += utf8_bytes(text) if text else 0
        for call in self.tool_calls or ():
            if call.function is not None:
                n_bytes += utf8_bytes(call.function.name or "") + utf8_bytes(call.function.arguments or "")
        return n_bytes


class _Choice(EventPart, forbid_unknown_fields=True):
    """A choice of a whole answer."""

    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    error: None = None
    index: Ignored = Ignored()
    logprobs: Ignored = Ignored()
    native_finish_reason: Ignored = Ignored()
    stop_reason: Ignored = Ignored()
    matched_stop: Ignored = Ignored()
    token_ids: Ignored = Ignored()
    prompt_token_ids: Ignored = Ignored()
    content_filter_results: Ignored = Ignored()


class _ChunkChoice(_Choice, forbid_unknown_fields=True):
    message: _Message | None = msgspec.field(default=None, name="delta")


class _InputDetails(EventPart, forbid_unknown_fields=True):
    cached_tokens: Count | None = None
    audio_tokens: Zero | None = None
    image_tokens: Zero | None = None


class _OutputDetails(EventPart, forbid_unknown_fields=True):
    reasoning_tokens: Count | None = None
    audio_tokens: Zero | None = None
    image_tokens: Zero | None = None
    accepted_prediction_tokens: Ignored = Ignored()
    rejected_prediction_tokens: Ignored = Ignored()


class _Usage(EventPart, forbid_unknown_fields=True):
    """A usage with parts within their totals, and totals that add up: there is nothing to reconcile."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None

    def __post_init__(self) -> None:
        adds_up = self.total_tokens == self.prompt_tokens + self.completion_tokens
        of_input, of_output = self.prompt_tokens_details, self.completion_tokens_details
        if (
            not adds_up
            or (of_input is not None and (of_input.cached_tokens or 0) > self.prompt_tokens)
            or (of_output is not None and (of_output.reasoning_tokens or 0) > self.completion_tokens)
        ):
            raise ValueError

    def as_usage(self) -> Usage:
        of_input, of_output = self.prompt_tokens_details, self.completion_tokens_details
        return Usage(
            input_tokens=self.prompt_tokens,
            output_tokens=self.completion_tokens,
            cached_input_tokens=(of_input.cached_tokens or 0) if of_input is not None else 0,
            reasoning_tokens=(of_output.reasoning_tokens or 0) if of_output is not None else 0,
        )


class Completion(OrdinaryEvent, FailureFields, kw_only=True):
    """An ordinary answer whose body is one document."""

    choices: Sequence[_Choice]
    model: Name | None = None
    service_tier: Name | None = None
    usage: _Usage | msgspec.UnsetType | None = msgspec.UNSET
    object: Literal["chat.completion", "chat.completion.chunk", "text_completion", ""] | None = None
    # A usage in another place, and search results: only the full reader reads these.
    type: None = None
    x_groq: None = None
    metrics: None = None
    metadata: None = None
    web_search: None = None

    def add_to(self, seen: Seen) -> None:
        """Add text, then model, service tier and usage."""
        seen.readable = True
        for choice in self.choices:
            if choice.finish_reason:
                seen.take_reason(choice.finish_reason)
            n_bytes = choice.message.text_bytes() if choice.message is not None else 0
            if choice.text:
                n_bytes += utf8_bytes(choice.text)
            if n_bytes:
                seen.text_bytes += n_bytes
                seen.chunks += 1
        if self.model != seen.model:
            seen.take_model(self.model)
        if self.service_tier:
            seen.service_tier = self.service_tier
        usage = self.usage
        if usage.__class__ is _Usage:
            seen.take_usage(usage.as_usage())


class Chunk(Completion, kw_only=True):
    """An ordinary chunk of a streamed answer."""

    choices: Sequence[_ChunkChoice]

    def without_usage(self, data: bytes) -> bytes | None:
        """The chunk without `"usage": null`; None if it has a usage, which the full reader has to hide."""
        if self.usage is msgspec.UNSET:
            return data
        return without_null_usage(data) if self.usage is None else None


class _TopLevelUsage(msgspec.Struct):
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_TOP_LEVEL_USAGE: Final = msgspec.json.Decoder(_TopLevelUsage)


def without_null_usage(data: bytes) -> bytes:
    """The chunk without its one `"usage": null`; unchanged if it has several, or if one may be nested or escaped."""
    for null in _USUAL_NULLS:
        shorter = data.replace(null, b"", 1)
        # The only one: so it is the chunk's own, and not that of an object in it.
        if len(shorter) < len(data) and _has_no_usage(shorter):
            return shorter
    shorter, cuts = _NULL_USAGE.subn(b"", data)
    return shorter if cuts == 1 and (_has_no_usage(shorter) or _has_no_top_level_usage(shorter)) else data


def _has_no_usage(data: bytes) -> bool:
    """Whether the key is absent, also in an escaped spelling."""
    return data.find(b'"usage"') < 0 and (_BACKSLASH not in data or data.find(b"\\u") < 0)


def _has_no_top_level_usage(data: bytes) -> bool:
    try:
        return _TOP_LEVEL_USAGE.decode(data).usage is msgspec.UNSET
    except (ValueError, RecursionError):
        return False
