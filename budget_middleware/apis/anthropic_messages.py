"""Anthropic messages, at Anthropic, at gateways, and by the model's path at Google."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from budget_middleware.apis.base import Ask, Refusal, Seen
from budget_middleware.apis.counting import has_server_tools, text_bytes_of
from budget_middleware.apis.errors import anthropic_error
from budget_middleware.apis.failures import read_failure
from budget_middleware.apis.json_api import JsonApi
from budget_middleware.apis.media import ANTHROPIC_MEDIA
from budget_middleware.apis.openai_usage import read_openai_usage, take_cost
from budget_middleware.apis.output import OutputFields
from budget_middleware.apis.paths import ends_in
from budget_middleware.apis.reading import first_count, largest, list_of, mapping_of, name_in, text_in, token_count
from budget_middleware.apis.tools import declared_tools, take_server_tool
from budget_middleware.core.outcome import Finish
from budget_middleware.core.usage import Unit, Usage

# What is put before the tools of a request, in tokens, as documented; it differs by model. So does what stands for
# each tool that Anthropic defines and the client runs (computer, bash, editor, memory), of which only the name is sent.
TOOL_PROMPT_TOKENS: Final = 350
WORST_TOOL_PROMPT_TOKENS: Final = 1_000
DEFINED_TOOL_TOKENS: Final = 700
WORST_DEFINED_TOOL_TOKENS: Final = 2_000

# Of the iterations that make up a message, those that its totals leave out.
_BESIDE: Final = ("compaction", "advisor_message")
# Those that are attempts at the message, where another model takes over from one that refuses.
_ATTEMPTS: Final = ("message", "fallback_message")
# Google sells the same model dearer in a region than everywhere.
_REGION: Final = re.compile(r"/locations/(?!global/)[^/]+/publishers/", re.IGNORECASE | re.ASCII)
# Of blocks and deltas. What a tool of Anthropic's has found is input; what is sealed in `data` was thought.
_BLOCK: Final = OutputFields(
    texts=("text", "thinking", "input", "name", "partial_json", "data"),
    silent=(
        *("type", "id", "index", "signature", "citation", "citations", "caller", "cache_control"),
        *("tool_use_id", "server_name", "file_id", "container_id", "content"),
    ),
)
_FOUND: Final = "_tool_result"


class AnthropicMessages(JsonApi):
    """`POST …/messages`, but for those of OpenAI's threads, and `…/models/MODEL:rawPredict`."""

    name = "anthropic-messages"
    provider = "anthropic"
    path = ends_in(
        r"\A(?!.*/threads/[^/]+/messages/*+\Z).*"
        r"(?:/messages|/models/(?P<model>(?!count-tokens:)[^/]+):(?:r|streamR)awPredict)"
    )
    media = ANTHROPIC_MEDIA
    input_fields = ("system", "messages", "cache_control")

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request; with tools there is a prompt before it that it does not show."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        tier = "fast" if body.get("speed") == "fast" else ask.service_tier
        ask = replace(ask, service_tier=tier, hides_input=ask.hides_input or _hides_input(body))
        if body.get("tools"):
            ask = replace(ask, tools=declared_tools(body))
        if region := text_in(body, "inference_geo"):
            ask = replace(ask, modes=(region,))
        if "/publishers/" in path:
            ask = replace(ask, provider="google", modes=("regional",) if _REGION.search(path) else ask.modes)
        return with_tool_prompt(ask, body.get("tools"))

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The maximum, which includes thinking."""
        return largest(body, "max_tokens", "max_tokens_to_sample")

    def read_json(self, document: object, seen: Seen) -> None:
        """Read a whole message, or an event of a stream; Google has models of others at the same path."""
        event = mapping_of(document)
        read_message_event(event, seen)
        if "choices" in event:
            read_openai_usage(event, seen)

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """Anthropic's error event."""
        return anthropic_error(refusal)


def with_tool_prompt(ask: Ask, tools: object) -> Ask:
    """The request with what Anthropic adds to tools."""
    if not tools:
        return ask
    n_defined = sum(_is_defined(mapping_of(tool)) for tool in list_of(tools))
    return replace(
        ask,
        input=_longer(ask.input, TOOL_PROMPT_TOKENS + DEFINED_TOOL_TOKENS * n_defined),
        worst_input=_longer(ask.worst_input, WORST_TOOL_PROMPT_TOKENS + WORST_DEFINED_TOOL_TOKENS * n_defined),
    )


def _is_defined(tool: Mapping[str, object]) -> bool:
    is_custom = tool.get("type", "custom") == "custom" or "input_schema" in tool
    return not is_custom and not has_server_tools([tool])


def _hides_input(body: Mapping[str, object]) -> bool:
    return bool(body.get("mcp_servers") or body.get("container")) or has_server_tools(body.get("tools"))


def read_message_event(event: Mapping[str, object], seen: Seen) -> None:
    """Read an event: the input is told at the start, the output with the delta of the message's end."""
    read_failure(event, seen)
    match event.get("type", "message" if "stop_reason" in event else None):
        case "message":
            if isinstance(content := event.get("content"), list):
                seen.take_text(sum(_read_block(mapping_of(block), seen) for block in content))
            seen.take_reason(event.get("stop_reason"))
            _read_message(event, seen)
            _read_usage(mapping_of(event.get("usage")), None, seen)
        case "message_start":
            seen.readable = True
            message = mapping_of(event.get("message"))
            _read_message(message, seen)
            start = _usage_of(mapping_of(message.get("usage")), None)
            seen.input_usage = start and replace(start, output_tokens=0, reasoning_tokens=0)
        case "content_block_start":
            seen.take_text(_read_block(mapping_of(event.get("content_block")), seen))
        case "content_block_delta":
            seen.take_text(_read_block(mapping_of(event.get("delta")), seen))
        case "message_delta":
            seen.take_reason(mapping_of(event.get("delta")).get("stop_reason"))
            # Where nothing was told of the input, it is 0 here, which is not believed of any call.
            _read_usage(mapping_of(event.get("usage")), seen.input_usage or Usage(), seen)
        case "message_stop":
            seen.terminal = True


def _read_message(message: Mapping[str, object], seen: Seen) -> None:
    usage = mapping_of(message.get("usage"))
    seen.model = name_in(message, "model") or seen.model
    seen.service_tier = name_in(usage, "service_tier")
    _read_modes(usage, seen)


def _read_modes(usage: Mapping[str, object], seen: Seen) -> None:
    if usage.get("speed") == "fast":
        seen.service_tier = "fast"
    region = name_in(usage, "inference_geo")
    if region and region != "not_available":
        seen.modes = (region,)


def _read_usage(usage: Mapping[str, object], start: Usage | None, seen: Seen) -> None:
    if not usage:
        return
    seen.take_usage(_billed_usage(_usage_of(usage, start), seen))
    _read_modes(usage, seen)
    take_cost(usage, seen)
    if "web_search_requests" in mapping_of(usage.get("server_tool_use")):
        # Searches that failed are not billed.
        seen.take_told_uses(Unit.WEB_SEARCH)
    if iterations := [mapping_of(iteration) for iteration in list_of(usage.get("iterations"))]:
        told = [(name_in(one, "model") or "", _usage_of(one, None)) for one in iterations if one.get("type") in _BESIDE]
        calls = (*told, *_given_up(iterations))
        seen.beside = tuple((model, used) for model, used in calls if used is not None) or seen.beside


def _billed_usage(told: Usage | None, seen: Seen) -> Usage | None:
    """The usage, of which the tokens are not billed where the model refused before it wrote anything."""
    is_refusal = seen.finish is Finish.REFUSED and not seen.text_bytes
    return Usage(web_searches=told.web_searches) if told and is_refusal and not told.output_tokens else told


def _given_up(iterations: Sequence[Mapping[str, object]]) -> Iterator[tuple[str | None, Usage | None]]:
    """The attempts of models that refused after they had begun to write. The totals are of the model that took over."""
    attempts = [one for one in iterations if one.get("type") in _ATTEMPTS]
    if all(one.get("type") == "message" for one in attempts):
        return
    served_by = name_in(attempts[-1], "model")
    for one in attempts[:-1]:
        model, used = name_in(one, "model"), _usage_of(one, None)
        if used is not None and used.output_tokens and model != served_by:
            yield model, used


def _usage_of(usage: Mapping[str, object], start: Usage | None) -> Usage | None:
    """A usage with both totals. What the start told of the input stands unless a later event tells another figure."""
    # Some that imitate the API keep OpenAI's names.
    output_tokens = _count_in(usage, "output_tokens", "completion_tokens")
    input_tokens = _count_in(usage, "input_tokens", "prompt_tokens")
    if output_tokens is None or (start is None and input_tokens is None):
        return None
    start = start or Usage()
    plain = input_tokens or _plain_tokens(start)
    cached = first_count(usage, "cache_read_input_tokens") or start.cached_input_tokens
    of_writes = mapping_of(usage.get("cache_creation"))
    written_1h = first_count(of_writes, "ephemeral_1h_input_tokens")
    written = max(
        first_count(usage, "cache_creation_input_tokens"),
        written_1h + first_count(of_writes, "ephemeral_5m_input_tokens"),
    )
    if not written:
        written, written_1h = start.cache_write_tokens, start.cache_write_1h_tokens
    elif not of_writes and start.cache_write_1h_tokens:
        # The last event of a stream repeats the sum without the ages, of which the start has told.
        written_1h = max(0, written - (start.cache_write_tokens - start.cache_write_1h_tokens))
    return Usage(
        # As reported, neither what is read from the cache nor what is written to it is part of the input.
        input_tokens=plain + cached + written,
        output_tokens=output_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=first_count(mapping_of(usage.get("output_tokens_details")), "thinking_tokens"),
        web_searches=first_count(mapping_of(usage.get("server_tool_use")), "web_search_requests"),
    )


def _count_in(usage: Mapping[str, object], name: str, other_name: str) -> int | None:
    count = token_count(usage.get(name))
    return token_count(usage.get(other_name)) if count is None and other_name in usage else count


def _plain_tokens(usage: Usage) -> int:
    return usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens


def _read_block(block: Mapping[str, object], seen: Seen) -> int:
    """The bytes of generated text in a block or a delta; a compaction has it as its content."""
    n_bytes = _BLOCK.read(block, seen)
    if block.get("type") == "server_tool_use":
        take_server_tool(block.get("name"), block.get("id"), seen)
    if "content" not in block or str(block.get("type")).endswith(_FOUND):
        return n_bytes
    return n_bytes + text_bytes_of(block["content"])


def _longer(usage: Usage, tokens: int) -> Usage:
    return replace(usage, input_tokens=usage.input_tokens + tokens)
