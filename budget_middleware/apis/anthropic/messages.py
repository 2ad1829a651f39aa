"""Anthropic messages, at Anthropic, at gateways, and by the model's path at Google."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from budget_middleware.apis.anthropic.usage import read_message_usage, read_model_and_tier, usage_of
from budget_middleware.apis.bodies.reading import largest, list_of, mapping_of, name_in
from budget_middleware.apis.counting.input import has_server_tools, text_bytes_of, utf8_bytes
from budget_middleware.apis.counting.media import ANTHROPIC_MEDIA
from budget_middleware.apis.counting.output import OutputFields
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.protocol.ordinary import EventPart, Ignored, OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import anthropic_error
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.apis.shared.tools import declared_tools, take_server_tool
from budget_middleware.core.costs.usage import Usage

# What is put before the tools of a request, in tokens, as documented; it differs by model. So does what stands for
# each tool that Anthropic defines and the client runs (computer, bash, editor, memory), of which only the name is sent.
TOOL_PROMPT_TOKENS: Final = 350
WORST_TOOL_PROMPT_TOKENS: Final = 1_000
DEFINED_TOOL_TOKENS: Final = 700
WORST_DEFINED_TOOL_TOKENS: Final = 2_000

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


class _Delta(EventPart, forbid_unknown_fields=True):
    type: Literal["text_delta", "thinking_delta", "input_json_delta", "signature_delta"]
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: Ignored = Ignored()


class MessageEvent(OrdinaryEvent, forbid_unknown_fields=True):
    """An ordinary event: a piece of a block, the end of one, or a sign of life."""

    type: Literal["content_block_delta", "content_block_stop", "ping"]
    delta: _Delta | None = None
    index: Ignored = Ignored()

    def add_to(self, seen: Seen) -> None:
        """Add the text of a delta."""
        if self.type != "content_block_delta":
            return
        n_bytes, delta = 0, self.delta
        if delta is not None:
            for text in (delta.text, delta.thinking, delta.partial_json):
                if text:
                    n_bytes += utf8_bytes(text)
        seen.take_text(n_bytes)


class AnthropicMessages(JsonApi):
    """`POST …/messages`, but for those of OpenAI's threads, and `…/models/MODEL:rawPredict`."""

    name = "anthropic-messages"
    provider = "anthropic"
    path = ends_in(
        r"\A(?!.*/threads/[^/]+/messages/*+\Z).*"
        r"(?:/messages|/models/(?P<model>(?!count-tokens:)[^/]+):(?:r|streamR)awPredict)"
    )
    media = ANTHROPIC_MEDIA
    ordinary_event = MessageEvent
    input_fields = ("system", "messages", "cache_control")

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request; with tools there is a prompt before it that it does not show."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        tier = "fast" if body.get("speed") == "fast" else ask.service_tier
        ask = replace(ask, service_tier=tier, hides_input=ask.hides_input or _hides_input(body))
        if body.get("tools"):
            ask = replace(ask, tools=declared_tools(body))
        if region := name_in(body, "inference_geo"):
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
    """Read an event: the input is reported at the start, the output with the delta of the message's end."""
    read_failure(event, seen)
    match event.get("type", "message" if "stop_reason" in event else None):
        case "message":
            if isinstance(content := event.get("content"), list):
                seen.take_text(sum(_read_block(mapping_of(block), seen) for block in content))
            seen.take_reason(event.get("stop_reason"))
            read_model_and_tier(event, seen)
            read_message_usage(mapping_of(event.get("usage")), None, seen)
        case "message_start":
            seen.readable = True
            message = mapping_of(event.get("message"))
            read_model_and_tier(message, seen)
            start = usage_of(mapping_of(message.get("usage")), None)
            seen.input_usage = start and replace(start, output_tokens=0, reasoning_tokens=0)
        case "content_block_start":
            seen.take_text(_read_block(mapping_of(event.get("content_block")), seen))
        case "content_block_delta":
            seen.take_text(_read_block(mapping_of(event.get("delta")), seen))
        case "message_delta":
            seen.take_reason(mapping_of(event.get("delta")).get("stop_reason"))
            # If no input was reported, it is 0 here, which is not believed of any call.
            read_message_usage(mapping_of(event.get("usage")), seen.input_usage or Usage(), seen)
        case "message_stop":
            seen.terminal = True


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
