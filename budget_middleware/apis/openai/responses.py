"""OpenAI responses: whole, streamed as typed events, or worked out in the background."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from budget_middleware.apis.bodies.reading import id_in, largest, list_of, mapping_of, name_in, parse_body, token_count
from budget_middleware.apis.counting.input import has_server_tools, text_bytes_of, utf8_bytes
from budget_middleware.apis.counting.output import OutputFields
from budget_middleware.apis.openai.images import image_tokens
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.ordinary import FailureFields, OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.apis.shared.tools import declared_tools, modes_of, take_item
from budget_middleware.core.costs.usage import Usage, UsageClass

_TERMINAL: Final = ("response.completed", "response.incomplete", "response.failed")
# Events with base64, not with text: sound, and images as they come into being.
_MEDIA: Final = (".audio.delta", ".output_audio.delta", ".partial_image")
_ITEM: Final = OutputFields(
    texts=("summary", "arguments", "input", "code", "name", "action", "operation", "query", "queries"),
    silent=(
        *("content", "id", "type", "status", "role", "call_id", "phase", "namespace", "execution", "created_by"),
        *("server_label", "container_id", "approval_request_id", "encrypted_content", "error", "caller"),
        # What tools of the provider have found is input.
        *("output", "outputs", "results", "tools", "pending_safety_checks", "acknowledged_safety_checks"),
    ),
)
_PART: Final = OutputFields(
    texts=("text", "refusal", "transcript"), silent=("type", "annotations", "logprobs", "id", "status")
)
# Items of which no deltas come before.
_WHOLE_ITEMS: Final = ("computer_call", "local_shell_call")
# What the tool draws with if it does not say so.
_IMAGE_MODEL: Final = "gpt-image-1.5"
_IMAGE_CALL: Final = "image_generation_call"
# What the provider keeps, and puts before the input: the conversation so far, a template.
_STORED_INPUT: Final = ("previous_response_id", "conversation", "prompt")


class TextDelta(OrdinaryEvent, FailureFields, kw_only=True):
    """The ordinary event: a piece of text, of thoughts, or of what a function is called with."""

    type: Literal[
        "response.output_text.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.refusal.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
        "response.code_interpreter_call_code.delta",
    ]
    delta: str
    object: None = None
    response: None = None
    usage: None = None

    def add_to(self, seen: Seen) -> None:
        """Add the text."""
        seen.take_text(utf8_bytes(self.delta))


class OpenAIResponses(JsonApi):
    """`POST …/responses`, and `…/responses/compact`."""

    name = "openai-responses"
    provider = "openai"
    path = ends_in("/responses(?:/compact)?")
    input_fields = ("input", "prompt")
    ordinary_event = TextDelta
    unseen_field = "background"

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request; one that goes on from a stored response has more input than it shows."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        is_stored = any(body.get(field) is not None for field in _STORED_INPUT) or _names_stored(body.get("input"))
        tools = body.get("tools")
        if tools:
            ask = replace(ask, tools=declared_tools(body), modes=modes_of(body))
        return replace(ask, hides_input=True) if is_stored or has_server_tools(tools) else ask

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The maximum by its own name, or by those that gateways take too."""
        return largest(body, "max_output_tokens", "max_tokens", "max_completion_tokens")

    def read_json(self, document: object, seen: Seen) -> None:
        """Read a whole response. One that is still worked on reports nothing yet, and may cost what was estimated."""
        response = mapping_of(document)
        if isinstance(output := response.get("output"), list) and _is_at_end(response):
            seen.take_text(sum(_read_item(mapping_of(item), seen) for item in output))
        self._read(response, seen)
        seen.continues_unread |= not _is_at_end(response)

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002 - it comes unasked
        """Read a typed event: text as it comes, the usage with the response's end."""
        event = mapping_of(parse_body(data))
        kind, response = event.get("type"), mapping_of(event.get("response"))
        if isinstance(kind, str):
            _read_piece(kind, event, seen)
        read_failure(event, seen)
        if response:
            self._read(response, seen)
        if "usage" in event:
            # As some gateways write it, beside the response.
            read_openai_usage({"usage": event["usage"]}, seen)
        if kind in _TERMINAL:
            seen.terminal = True
            _read_what_came_whole(response, seen)
        # In the background it is worked on whether or not anybody reads: what was read is not what it costs.
        seen.continues_unread = response.get("background") is True if response else seen.continues_unread
        seen.continues_unread &= not seen.terminal
        return data

    def _read(self, response: Mapping[str, object], seen: Seen) -> None:
        read_failure(response, seen)
        seen.take_reason(mapping_of(response.get("incomplete_details")).get("reason") or response.get("status"))
        read_openai_usage(response, seen)
        if id_ := id_in(response, "id"):
            if response.get("background") is True:
                seen.job = self.name, id_
            elif response.get("store") is not False:
                seen.stored = self.name, id_
        for index, item in enumerate(list_of(response.get("output"))):
            take_item(mapping_of(item), index, seen)
        if response.get("tools"):
            seen.modes = modes_of(response) or seen.modes
        if "tool_usage" in response:
            _read_tool_usage(mapping_of(response["tool_usage"]), seen)
        if "output" in response or "tool_usage" in response:
            _read_images(response, seen)


def _names_stored(items: object) -> bool:
    """Whether an item of the input stands for one that the provider keeps."""
    return any(
        item.get("type") == "item_reference" or item.keys() == {"id"} for item in map(mapping_of, list_of(items))
    )


def _is_at_end(response: Mapping[str, object]) -> bool:
    return response.get("status") not in ("queued", "in_progress")


def _read_tool_usage(tool_usage: Mapping[str, object], seen: Seen) -> None:
    """Take over how many searches are billed, which may be fewer than there were."""
    searches = token_count(mapping_of(tool_usage.get("web_search")).get("num_requests"))
    if searches is not None and seen.usage is not None:
        seen.discard_uses(UsageClass.WEB_SEARCH)
        seen.usage = replace(seen.usage, web_searches=searches)


def _read_images(response: Mapping[str, object], seen: Seen) -> None:
    """Take over the usage of the image model that a tool has called: as reported, else by the images that came."""
    images = [
        item
        for item in map(mapping_of, list_of(response.get("output")))
        if item.get("type") == _IMAGE_CALL and item.get("status") != "failed"
    ]
    drawn = Seen()
    if tool_usage := mapping_of(mapping_of(response.get("tool_usage")).get("image_gen")):
        # Some gateways report the output alone, or leave out the image itself.
        read_openai_usage({"usage": {"input_tokens": 0, **tool_usage}}, drawn, draws=True)
    usage = drawn.usage
    if usage is None or not usage.output_tokens:
        if not images:
            return
        tokens = sum(image_tokens(item.get("quality"), item.get("size")) for item in images)
        usage = Usage(output_tokens=tokens, output_image_tokens=tokens)
    tools = map(mapping_of, list_of(response.get("tools")))
    models = [name_in(tool, "model") for tool in tools if tool.get("type") == "image_generation"]
    seen.extra_calls = ((next(filter(None, models), _IMAGE_MODEL), usage),)


def _read_piece(kind: str, event: Mapping[str, object], seen: Seen) -> None:
    """Read what an event of a stream adds to the output. What came in pieces is repeated when it is done."""
    if kind.endswith(_MEDIA):
        seen.has_unread_output = True
    elif kind.endswith(".delta"):
        seen.take_text(text_bytes_of(event.get("delta")))
    elif kind == "response.output_item.done":
        item = mapping_of(event.get("item"))
        take_item(item, event.get("output_index", item.get("id")), seen)
        if not seen.text_bytes or item.get("type") in _WHOLE_ITEMS:
            seen.take_text(_read_item(item, seen))
        else:
            seen.has_unread_output |= _ITEM.has_more(item)


def _read_what_came_whole(response: Mapping[str, object], seen: Seen) -> None:
    """Where no usage reports the output, and not all of it came in pieces, count what the end of the stream repeats."""
    if seen.usage is None:
        n_bytes = sum(_read_item(mapping_of(item), seen) for item in list_of(response.get("output")))
        seen.take_text_up_to(n_bytes)


def _read_item(item: Mapping[str, object], seen: Seen) -> int:
    parts = map(mapping_of, list_of(item.get("content")))
    return _ITEM.read(item, seen) + sum(_PART.read(part, seen) for part in parts)
