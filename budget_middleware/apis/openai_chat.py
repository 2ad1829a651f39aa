"""OpenAI chat completions, as served by OpenAI and by most gateways."""

import json
import re
from collections.abc import Mapping
from typing import Final

from budget_middleware.apis.base import (
    Ask,
    Reason,
    Refusal,
    Seen,
    input_tokens_of,
    mapping_of,
    parse_body,
    text_bytes_of,
    token_count,
    whole_number,
)
from budget_middleware.core.money import MAX_USD, nanos_from_usd
from budget_middleware.core.pricing import Usage

# What OpenAI accepts as `n`; more choices than that are a slip or an attack.
MAX_CHOICES: Final = 128
MAX_MODEL_NAME: Final = 256

_PROMPT_FIELDS: Final = ("messages", "tools", "functions", "response_format")
_TEXT_FIELDS: Final = ("content", "reasoning_content", "reasoning", "refusal")
_CALL_FIELDS: Final = ("name", "arguments")
# Quotes inside a JSON string are escaped, so this is a key wherever it stands.
_NULL_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null(?=\s*[,}])|(?<=\{)\s*"usage"\s*:\s*null\s*,')
_ERRORS: Final = {
    Reason.SPENT: ("insufficient_quota", "budget_exhausted"),
    Reason.HELD: ("rate_limit_error", "budget_held"),
    Reason.UNAVAILABLE: ("api_error", "budget_unavailable"),
    Reason.BAD_REQUEST: ("invalid_request_error", "budget_bad_request"),
    Reason.UNKNOWN_MODEL: ("invalid_request_error", "budget_unknown_model"),
    Reason.MISCONFIGURED: ("api_error", "budget_misconfigured"),
}


class OpenAIChat:
    """`POST …/chat/completions`."""

    name = "openai-chat"
    provider = "openai"

    def matches(self, path: str) -> bool:
        """Whether the path ends in `/chat/completions`."""
        return path.rstrip("/").endswith("/chat/completions")

    def read_request(self, body: object) -> Ask:
        """Read a request; a body that is no object counts by its length."""
        if not isinstance(body, dict):
            return Ask(input_tokens=input_tokens_of(body))
        # A gateway honours either name, and which one it prefers is not ours to know.
        maxima = [whole_number(body, name) for name in ("max_tokens", "max_completion_tokens")]
        model = body.get("model")
        return Ask(
            model=model if isinstance(model, str) and model else None,
            streams=body.get("stream") is True,
            wants_usage=_wants_usage(body),
            input_tokens=input_tokens_of([body.get(field) for field in _PROMPT_FIELDS]),
            max_output_tokens=max((tokens for tokens in maxima if tokens is not None), default=None),
            choices=whole_number(body, "n", at_most=MAX_CHOICES) or 1,
        )

    def ask_for_usage(self, raw: bytes, body: object) -> bytes | None:
        """Set `stream_options.include_usage` where a stream does not ask; other bytes stay if they can."""
        if not isinstance(body, dict) or body.get("stream") is not True or _wants_usage(body):
            return None
        if "stream_options" not in body and json.detect_encoding(raw) == "utf-8":
            return raw.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)
        options = body.get("stream_options")
        if options is not None and not isinstance(options, dict):
            return None  # The upstream is to refuse what the client wrote.
        try:
            return json.dumps(body | {"stream_options": {**(options or {}), "include_usage": True}}).encode()
        except RecursionError:
            return None

    def read_json(self, document: object, seen: Seen) -> None:
        """Read a whole chat completion."""
        self._read(mapping_of(document), "message", seen)

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:
        """Read a chunk. Hidden are the chunk that has only usage, and `"usage": null` in the others."""
        if data.strip() == b"[DONE]":
            seen.terminal = True
            return data
        chunk = mapping_of(parse_body(data))
        self._read(chunk, "delta", seen)
        if not hide_usage or "usage" not in chunk:
            return data
        if chunk["usage"] is None:
            shorter, cuts = _NULL_USAGE.subn(b"", data)
            return shorter if cuts == 1 else data
        return None if chunk.get("choices") == [] else data

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """OpenAI's error object."""
        kind, code = _ERRORS[refusal.reason]
        return {"error": {"message": refusal.message, "type": kind, "param": None, "code": code}}

    def _read(self, answer: Mapping[str, object], part: str, seen: Seen) -> None:
        choices = answer.get("choices")
        if isinstance(choices, list):
            seen.readable = True
            for choice in choices:
                n_bytes = _text_bytes(mapping_of(mapping_of(choice).get(part)))
                seen.text_bytes += n_bytes
                seen.chunks += n_bytes > 0
        model = answer.get("model")
        if isinstance(model, str) and 0 < len(model) <= MAX_MODEL_NAME:
            seen.model = model
        _read_usage(mapping_of(answer.get("usage")), seen)


def _wants_usage(body: Mapping[str, object]) -> bool:
    # Anything but a plain no is the client's own wish, or its own error.
    return mapping_of(body.get("stream_options")).get("include_usage") not in (None, False)


def _text_bytes(message: Mapping[str, object]) -> int:
    """The bytes of generated text in a message or delta."""
    n_bytes = sum(text_bytes_of(message[field]) for field in _TEXT_FIELDS if field in message)
    tool_calls = message.get("tool_calls")
    calls = [mapping_of(call).get("function") for call in tool_calls] if isinstance(tool_calls, list) else []
    for call in map(mapping_of, [*calls, message.get("function_call")]):
        n_bytes += sum(text_bytes_of(call[field]) for field in _CALL_FIELDS if field in call)
    return n_bytes


def _read_usage(usage: Mapping[str, object], seen: Seen) -> None:
    """Take over a usage that has both totals; with continuous usage the last one is the whole."""
    input_tokens = token_count(usage.get("prompt_tokens"))
    output_tokens = token_count(usage.get("completion_tokens"))
    if input_tokens is not None and output_tokens is not None:
        of_input = mapping_of(usage.get("prompt_tokens_details"))
        of_output = mapping_of(usage.get("completion_tokens_details"))
        seen.usage = Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_input_tokens=token_count(of_input.get("cached_tokens")) or 0,
            # Not OpenAI's: the names that OpenRouter and LiteLLM give to Anthropic's cache writes.
            cache_write_tokens=token_count(of_input.get("cache_write_tokens"))
            or token_count(of_input.get("cache_creation_tokens"))
            or 0,
            reasoning_tokens=token_count(of_output.get("reasoning_tokens")) or 0,
            input_audio_tokens=token_count(of_input.get("audio_tokens")) or 0,
            output_audio_tokens=token_count(of_output.get("audio_tokens")) or 0,
        )
    cost_nanos = _cost_nanos(usage.get("cost"))
    seen.cost_nanos = seen.cost_nanos if cost_nanos is None else cost_nanos


def _cost_nanos(cost: object) -> int | None:
    """A cost in USD that the gateway reports, as OpenRouter does; None for anything that is not one."""
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= MAX_USD:
        return None
    # The shortest text of a double is the number that was sent.
    return nanos_from_usd(repr(cost))
