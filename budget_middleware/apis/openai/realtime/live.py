"""OpenAI's live sessions: billed by their time, from the first event to the end, whoever speaks.

    session.start ── holds the first slice of time ──> session.started ──> … session.usage.updated … ──> session.closed
    response.event ─ a response that the session has delegated to another model: a call beside it, by its own usage

The server says how much time it bills; until then, and where it does not, the clock does. Time passes by itself, so a
slice that is refused closes the session (1008).
Source: the types of OpenAI's SDK, `openai.types.live`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from budget_middleware.apis.bodies.bounded_answer import is_heavy
from budget_middleware.apis.bodies.reading import id_in, mapping_of, milliseconds, name_in, parse_body
from budget_middleware.apis.bodies.repeated_fields import texts_within
from budget_middleware.apis.openai.realtime.events import error_event, head_of
from budget_middleware.apis.openai.responses import OpenAIResponses
from budget_middleware.apis.protocol.base import Api, Ask, Refusal
from budget_middleware.apis.protocol.ended_calls import EndedCalls
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.protocol.session_events import Asked, ServerEvent, Step
from budget_middleware.apis.protocol.session_time import TIME_MS, SessionTime, body_of_time, time_to_ask
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import read_openai_usage

_START: Final = "session.start"
_STARTED: Final = "session.started"
_USAGE: Final = "session.usage.updated"
_CLOSED: Final = "session.closed"
_DELEGATED: Final = "response.event"
_STEPS: Final = {
    "response.created": Step.BEGINS,
    "response.queued": Step.BEGINS,
    "response.completed": Step.ENDS,
    "response.incomplete": Step.ENDS,
    "response.failed": Step.ENDS,
}
_SEVERAL: Final = "The session names several models, and which one it gets is not known."
# The lane of the session's own time; responses have the name of their delegation behind another word.
_TIME: Final = "time"
_RESPONSES: Final = OpenAIResponses()


class _Delegated(msgspec.Struct, gc=False):
    """An event that has one of a response in it."""

    event: msgspec.Raw


_read_delegated = msgspec.json.Decoder(_Delegated).decode


class OpenAILive(JsonApi):
    """`GET …/live/sessions`, upgraded to a WebSocket, a fork of such a session, or a second socket on one."""

    name = "openai-live"
    provider = "openai"
    path = ends_in("/live/sessions(?:/[^/]+/(?:fork|attach))?")

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """A slice of time, or a response that was delegated."""
        if TIME_MS in body:
            return time_to_ask(body)
        return _RESPONSES.read_ask(body, path=path, n_bytes=n_bytes)

    def read_json(self, document: object, seen: Seen) -> None:
        """Read the time that an event says was billed."""
        read_openai_usage({"usage": mapping_of(document).get("usage")}, seen)

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:
        """Read an event of a response that was delegated."""
        with suppress(ValueError, RecursionError):
            _RESPONSES.read_event(bytes(_read_delegated(data).event), seen, hide_usage=hide_usage)
        return data


class OpenAILiveSession:
    """`GET …/live/sessions`, upgraded to a WebSocket."""

    api: Api = OpenAILive()

    def model_ahead(self, scope: Mapping[str, Any]) -> str:  # noqa: ARG002 - it is not in the address
        """Every session is paid for, and `session.start` names its model."""
        return ""

    def open(self, scope: Mapping[str, Any], *, path: str) -> "LiveConversation":  # noqa: ARG002 - the first event says all
        """A session of which nothing is known yet."""
        return LiveConversation()


class LiveConversation:
    """One session: its model, and its time."""

    may_interrupt = True

    def __init__(self) -> None:
        self._model = self._why_unread = ""
        self._time = SessionTime(by_clock=True)
        self._ended = EndedCalls()

    def read_client(self, data: bytes) -> Sequence[Asked]:
        """Ask for the next slice of the session's time, where one is due: the first event of any kind begins it."""
        head = head_of(data)
        if head.type == _START and not is_heavy(data):
            names = {name for name in texts_within(data, "session", "model") if name}
            if names:
                self._model, self._why_unread = (names.pop(), "") if len(names) == 1 else ("", _SEVERAL)
        time_slice = self._time.next_slice()
        if time_slice is None:
            return ()
        asked = Asked(_TIME, body_of_time(self._model), is_maybe=True, event_id=str(head.event_id or ""))
        return (asked._replace(time=time_slice, why_unread=self._why_unread),)

    def read_server_event(self, data: bytes) -> ServerEvent | None:
        """What an event reports of a delegated response; None for others, of which only billed time is noted."""
        kind = head_of(data).type
        if kind == _DELEGATED:
            event = _delegated(mapping_of(parse_body(data)))
            return None if event is None else self._ended.told_once(event)
        if kind == _STARTED:
            self._model = name_in(_session_in(data), "model") or self._model
        elif kind in (_USAGE, _CLOSED):
            usage = mapping_of(mapping_of(parse_body(data)).get("usage"))
            billed_ms = milliseconds(usage.get("seconds"))
            if billed_ms is not None:
                self._time.correct(billed_ms, is_over=kind == _CLOSED)
        return None

    def error_event(self, refusal: Refusal, asked: Asked) -> dict[str, object]:
        """An `error`, which names the event of the client that it is about."""
        event = error_event(refusal, event_id=asked.event_id)
        return {**event, "client_event_id": asked.event_id} if asked.event_id else event

    def cancel_event(self, call_id: str) -> dict[str, object] | None:  # noqa: ARG002 - there is none
        """None: a session goes on until it is closed."""
        return None


def _session_in(data: bytes) -> Mapping[str, object]:
    return mapping_of(mapping_of(parse_body(data)).get("session"))


def _delegated(event: Mapping[str, object]) -> ServerEvent | None:
    inner = mapping_of(event.get("event"))
    kind = name_in(inner, "type") or ""
    response = mapping_of(inner.get("response"))
    if not kind.startswith("response."):
        return None
    lane = f"delegated {name_in(event, 'delegation_id') or ''}"
    body = {name: response[name] for name in ("model", "max_output_tokens", "service_tier") if name in response}
    return ServerEvent(_STEPS.get(kind, Step.GOES_ON), lane, body=body, call_id=id_in(response, "id") or "")
