"""OpenAI chat completions, as served by OpenAI and by most gateways."""

import json
from collections.abc import Mapping
from typing import ClassVar, Final

from budget_middleware.apis.bodies.extra_body import DROPPED, EXTRA, sent_on, with_option
from budget_middleware.apis.bodies.reading import (
    PartialBody,
    id_in,
    largest,
    list_of,
    mapping_of,
    may_be_true,
    name_in,
    parse_body,
    whole_number,
)
from budget_middleware.apis.counting.input import has_server_tools, text_bytes_of
from budget_middleware.apis.counting.output import OutputFields
from budget_middleware.apis.openai.chunk import Chunk, Completion, without_null_usage
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.clamping import with_changes
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.apis.shared.tools import declared_tools, modes_of, take_called, take_executed
from budget_middleware.core.costs.outcome import Finish
from budget_middleware.core.costs.pricing import UsageClass

DEFERRED: Final = "xai-deferred"
"""How a ticket names the API of a deferred completion."""

# The values of an object, as they are written.
_USAGE_ALONE: Final = {"stream_options": {"include_usage": True}}
# The fields that make more of a call than its messages say.
_CHANGE_THE_PRICE: Final = frozenset({"modalities", "tools", "web_search_options", "plugins", "speed", "inference_geo"})
# What OpenAI accepts as `n`; more choices than that are a slip or an attack.
MAX_CHOICES: Final = 128

_CHOICE: Final = OutputFields(
    texts=("text",),  # Of completions.
    silent=(
        *("message", "delta", "index", "finish_reason", "native_finish_reason", "stop_reason", "matched_stop", "seed"),
        *("logprobs", "prompt_logprobs", "token_ids", "prompt_token_ids", "hidden_states", "error"),
        *("content_filter_result", "content_filter_results", "content_filter_offsets"),
    ),
)
_MESSAGE: Final = OutputFields(
    texts=("reasoning_content", "reasoning", "refusal"),
    silent=(
        *("content", "tool_calls", "function_call", "reasoning_details", "thinking_blocks", "audio"),
        *("role", "id", "type", "name", "status", "channel", "recipient", "phase", "parsed", "prefix", "tool_call_id"),
        *("annotations", "citations", "context", "metadata", "search_results", "executed_tools"),
        *("signature", "reasoning_signature", "thought_signature", "reasoning_opaque"),
        *("provider_specific_fields", "extra_content"),
    ),
)
# What of it needs more than a look at its text.
_NESTED: Final = frozenset({"tool_calls", "function_call", "reasoning_details", "thinking_blocks", "audio"})
_CALL: Final = OutputFields(
    texts=(), silent=("function", "custom", "id", "index", "type", "extra_content", "provider_specific_fields")
)
_CALLED: Final = OutputFields(
    texts=("name", "arguments", "input"), silent=("thought_signature", "provider_specific_fields")
)
# The reasoning in pieces, beside the same in one text: OpenRouter's and LiteLLM's.
_REASONING: Final = OutputFields(
    texts=("text", "summary", "data", "thinking"),
    silent=("type", "id", "format", "index", "signature", "cache_control"),
)
_AUDIO: Final = OutputFields(texts=("transcript",), silent=("id", "expires_at"))
_PART: Final = OutputFields(
    texts=("text", "thinking", "refusal"), silent=("type", "annotations", "closed", "reference_ids", "signature")
)


class OpenAIChat(JsonApi):
    """`POST …/chat/completions`."""

    name = "openai-chat"
    provider = "openai"
    path = ends_in("/chat/completions")
    input_fields: ClassVar[tuple[str, ...]] = ("messages",)
    ordinary_event = Chunk
    ordinary_answer = Completion
    # Of xAI, which answers with an id.
    unseen_field = "deferred"

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request; an answer that may be spoken is reserved at the price of audio."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        ask.hides_input |= _has_spoken(body)
        # Nearly every request has none of them.
        if _CHANGE_THE_PRICE.isdisjoint(body):
            return ask
        if "audio" in list_of(body.get("modalities")):
            ask.output_unit = UsageClass.OUTPUT_AUDIO
        if body.get("tools") or body.get("web_search_options") is not None:
            ask.tools, ask.modes = declared_tools(body), modes_of(body)
        # Claude's, which gateways pass on.
        if body.get("speed") == "fast":
            ask.service_tier = "fast"
        if region := name_in(body, "inference_geo"):
            ask.modes += (region,)
        ask.hides_input |= _is_given_more_input(body)
        return ask

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The larger of the two names."""
        return largest(body, "max_tokens", "max_completion_tokens")

    def choices(self, body: Mapping[str, object]) -> int:
        """The number `n`."""
        return (whole_number(body, "n", at_most=MAX_CHOICES) or 1) if "n" in body else 1

    def ask_for_usage(self, raw: bytes, body: object) -> bytes | None:
        """Set `stream_options.include_usage` where a stream does not ask; other bytes stay if they can."""
        if not isinstance(body, dict) or not body.get("stream"):
            return None
        if not may_be_true(body["stream"]) or not (changes := _asking_for_usage(body)):
            return None
        if changes == _USAGE_ALONE and "stream_options" not in body and json.detect_encoding(raw) == "utf-8":
            return raw.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)
        if isinstance(body, PartialBody):
            # Of two fields with one name the last counts.
            return raw.rstrip().removesuffix(b"}") + b"," + json.dumps(changes).encode()[1:]
        options = body.get("stream_options")
        if options and not isinstance(options, dict):
            return None  # The upstream is to refuse what the client wrote.
        asking = with_changes(raw, body, changes)
        # One that is too deep to be written anew.
        return with_changes(raw, body, changes | {EXTRA: {}}) if asking is None and EXTRA in changes else asking

    def read_json(self, document: object, seen: Seen) -> None:
        """Read a whole completion, or the id of one that is deferred: xAI answers with that alone."""
        answer = mapping_of(document)
        self._read(answer, seen)
        if answer.keys() == {"request_id"} and (id_ := id_in(answer, "request_id")):
            seen.job, seen.continues_unread = (DEFERRED, id_), True

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:
        """Read a chunk. Hidden are the one that says nothing but usage, and `"usage": null` in the others."""
        if data.strip() == b"[DONE]":
            seen.terminal = True
            return data
        chunk = mapping_of(parse_body(data))
        self._read(chunk, seen)
        if not hide_usage or "usage" not in chunk:
            return data
        if chunk["usage"] is None:
            return without_null_usage(data)
        choices = chunk.get("choices")
        return None if isinstance(choices, list) and not any(map(_has_content, choices)) else data

    def _read(self, answer: Mapping[str, object], seen: Seen) -> None:
        if isinstance(choices := answer.get("choices"), list):
            seen.readable = True
            for choice in choices:
                seen.take_text(_read_choice(mapping_of(choice), seen))
        if "web_search" in answer and list_of(answer["web_search"]):
            # What Z.ai's search has found, at the top of an answer or of a chunk.
            seen.take_use(UsageClass.WEB_SEARCH, "")
        read_failure(answer, seen)
        read_openai_usage(answer, seen)


def _asking_for_usage(body: Mapping[str, object]) -> dict[str, object]:
    """The fields by which a stream reports its usage, whatever its request says of that elsewhere."""
    changes: dict[str, object] = {}
    if not _wants_usage(body):
        changes["stream_options"] = {**mapping_of(body.get("stream_options")), "include_usage": True}
    if EXTRA in body or DROPPED in body:
        changes |= with_option(body, "stream_options", "include_usage") | sent_on(body, "stream_options")
    return changes


def _read_choice(choice: Mapping[str, object], seen: Seen) -> int:
    """The bytes of generated text in a choice of an answer or of a chunk."""
    n_bytes = _CHOICE.read(choice, seen)
    if reason := choice.get("finish_reason"):
        seen.take_reason(reason)
    if choice.get("error"):
        seen.take_finish(Finish.FAILED)
    message = mapping_of(choice.get("message") or choice.get("delta"))
    if "executed_tools" in message:
        take_executed(list_of(message["executed_tools"]), seen)
    content = message.get("content")
    n_bytes += _read_parts(content, seen) if isinstance(content, list) else text_bytes_of(content)
    reasoning_and_refusal = _MESSAGE.read(message, seen)
    n_bytes += reasoning_and_refusal
    if _NESTED.isdisjoint(message):
        return n_bytes
    if not reasoning_and_refusal:
        pieces = [*list_of(message.get("reasoning_details")), *list_of(message.get("thinking_blocks"))]
        n_bytes += sum(_REASONING.read(mapping_of(piece), seen) for piece in pieces)
    calls = [mapping_of(call) for call in list_of(message.get("tool_calls"))]
    seen.has_unread_output |= any(map(_CALL.has_more, calls))
    take_called(calls, seen)
    called = [message.get("function_call"), *(call.get(kind) for call in calls for kind in ("function", "custom"))]
    n_bytes += sum(_CALLED.read(mapping_of(one), seen) for one in called)
    return n_bytes + _AUDIO.read(mapping_of(message.get("audio")), seen)


def _read_parts(parts: list[object], seen: Seen) -> int:
    """The bytes of text in a content that comes in parts: Mistral's thoughts among them, and images."""
    return sum(_PART.read(part, seen) if isinstance(part, dict) else text_bytes_of(part) for part in parts)


def _has_spoken(body: Mapping[str, object]) -> bool:
    """Whether the model reads what it said aloud before."""
    messages = body.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if isinstance(message, dict) and message.get("audio"):
                return True
    return False


def _is_given_more_input(body: Mapping[str, object]) -> bool:
    """Whether the model reads what tools of the provider find."""
    reads_more_input = body.get("web_search_options") is not None or body.get("plugins") is not None
    return reads_more_input or has_server_tools(body.get("tools"))


def _has_content(choice: object) -> bool:
    """OpenAI's usage comes without choices; LiteLLM's with one that has an empty delta."""
    facts = dict(mapping_of(choice))
    facts.pop("index", None)
    return any((*mapping_of(facts.pop("delta", None)).values(), *facts.values()))


def _wants_usage(body: Mapping[str, object]) -> bool:
    # Anything but a plain no is the client's own wish, or its own error.
    return may_be_true(mapping_of(body.get("stream_options")).get("include_usage"))
