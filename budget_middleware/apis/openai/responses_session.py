"""OpenAI responses on a WebSocket: each `response.create` is a call, and its lane is the `stream_id`.

A response goes through the same typed events as on HTTP. After `response.steer` the server itself begins another one.
Source: the types of OpenAI's SDK, `ResponsesClientEvent` and `ResponsesServerEvent`.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from budget_middleware.apis.bodies.bounded_json import UNWEIGHED_BYTES
from budget_middleware.apis.bodies.reading import id_in, mapping_of, parse_body, token_count
from budget_middleware.apis.openai.responses import OpenAIResponses
from budget_middleware.apis.protocol.base import Api, Refusal
from budget_middleware.apis.protocol.ended_calls import EndedCalls
from budget_middleware.apis.protocol.session_events import Asked, ServerEvent, Step
from budget_middleware.apis.shared.stream_errors import error_with_type

_CREATE: Final = "response.create"
_BEGINS: Final = frozenset({"response.created", "response.queued"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
# What becomes of input that a client adds to a response.
_ABOUT_STEERING: Final = "response.steer."


class _Head(msgspec.Struct, gc=False):
    """What every event has; the rest of it is passed over. A server may take, and repeat, a number for a lane."""

    type: str
    stream_id: str | float | int | bool | None = None

    @property
    def lane(self) -> str:
        return "" if self.stream_id is None else str(self.stream_id)


_MAY_BE_A_CALL: Final = _Head(_CREATE)

_read_head = msgspec.json.Decoder(_Head).decode


class OpenAIResponsesSession:
    """`GET …/responses`, upgraded to a WebSocket."""

    api: Api = OpenAIResponses()

    def model_ahead(self, scope: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - it is not in the address
        """Each response names its own."""
        return None

    def open(self, scope: Mapping[str, Any], *, path: str) -> "ResponsesConversation":  # noqa: ARG002 - all is in the events
        """Each event says by itself what it asks for."""
        return ResponsesConversation()


class ResponsesConversation:
    """One session: which responses have ended in it."""

    may_interrupt = False

    def __init__(self) -> None:
        self._ended = EndedCalls()

    def read_client(self, data: bytes) -> Sequence[Asked]:
        """A call for a `response.create`, and for what only others than we may be able to read as one."""
        head = _client_head_of(data)
        return (Asked(head.lane, n_bytes=len(data)),) if head is not None and head.type == _CREATE else ()

    def read_server_event(self, data: bytes) -> ServerEvent | None:
        """What an event says of the response in its lane."""
        head = _head_of(data)
        if head is None:
            return None
        lane = head.lane
        if head.type in _BEGINS or head.type in _ENDS:
            response = mapping_of(_parsed(data).get("response"))
            step = Step.BEGINS if head.type in _BEGINS else Step.ENDS
            return self._ended.told_once(ServerEvent(step, lane, body=response, call_id=id_in(response, "id") or ""))
        if head.type == "error":
            return ServerEvent(Step.REFUSED, lane, status=token_count(_parsed(data).get("status")) or 500)
        if head.type.startswith("response.") and not head.type.startswith(_ABOUT_STEERING):
            return ServerEvent(Step.GOES_ON, lane)
        return None

    def error_event(self, refusal: Refusal, asked: Asked) -> dict[str, object]:
        """An `error` with the status that HTTP would have."""
        event = {**error_with_type(refusal), "status": refusal.status}
        return {**event, "stream_id": asked.lane} if asked.lane else event

    def cancel_event(self, call_id: str) -> dict[str, object] | None:  # noqa: ARG002 - nothing ends one
        """None: a response goes on until its connection is closed."""
        return None


def _head_of(data: bytes) -> _Head | None:
    try:
        return _read_head(data)
    except (ValueError, RecursionError):
        with suppress(RecursionError):
            return _read_leniently(data)
    return None


def _client_head_of(data: bytes) -> _Head | None:
    """What is too deep for us, or too long to be read a second time, may be a call for others."""
    with suppress(RecursionError):
        try:
            return _read_head(data)
        except ValueError:
            if len(data) <= UNWEIGHED_BYTES:
                return _read_leniently(data)
    return _MAY_BE_A_CALL


def _read_leniently(data: bytes) -> _Head | None:
    """As many a server reads JSON: with NaN, half a character, UTF-16. RecursionError."""
    try:
        event = mapping_of(json.loads(data))
    except ValueError:
        return None
    kind, lane = event.get("type"), event.get("stream_id")
    return _Head(kind, lane if isinstance(lane, str | float | int) else None) if isinstance(kind, str) else None


def _parsed(data: bytes) -> Mapping[str, object]:
    return mapping_of(parse_body(data))
