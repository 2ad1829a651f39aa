"""The events of OpenAI's realtime API: what tells them apart, in today's shape and in that of the beta."""

import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from budget_middleware.apis.bodies.bounded_json import UNWEIGHED_BYTES
from budget_middleware.apis.bodies.reading import bytes_of_base64, mapping_of, parse_body
from budget_middleware.apis.protocol.base import Refusal
from budget_middleware.apis.shared.errors import openai_error

# Of the client.
CREATE: Final = "response.create"
SOUND: Final = "input_audio_buffer.append"
ITEM_CREATE: Final = "conversation.item.create"
SESSION_UPDATES: Final = frozenset({"session.update", "transcription_session.update"})
# Of the server.
SESSION_CREATED: Final = frozenset({"session.created", "transcription_session.created"})
SESSION_UPDATED: Final = frozenset({"session.updated", "transcription_session.updated"})
RESPONSE_CREATED: Final = "response.created"
RESPONSE_DONE: Final = "response.done"
SPOKEN: Final = (".audio.delta", ".output_audio.delta")
"""How the types of events end that have sound in base64."""
TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"

MAXIMA: Final = ("max_output_tokens", "max_response_output_tokens")
"""The maximum of the output, by its name and by that of the beta."""
UNBOUNDED: Final = "inf"


class EventHead(msgspec.Struct, gc=False):
    """What tells events apart; the rest is passed over."""

    type: str
    event_id: str | float | int | bool | None = None
    response_id: str | float | int | bool | None = None


UNKNOWN: Final = EventHead("")


class _SoundEvent(msgspec.Struct, gc=False):
    audio: str = ""
    delta: str = ""


_read_sound_event = msgspec.json.Decoder(_SoundEvent).decode

_read_head = msgspec.json.Decoder(EventHead).decode


def head_of(data: bytes) -> EventHead:
    """What tells an event apart; UNKNOWN where it cannot be read, however lenient one is."""
    try:
        return _read_head(data)
    except (ValueError, RecursionError):
        event = mapping_of(parse_body(data)) if len(data) <= UNWEIGHED_BYTES else {}
    kind, event_id, response_id = (event.get(name) for name in ("type", "event_id", "response_id"))
    if not isinstance(kind, str):
        return UNKNOWN
    return EventHead(kind, str(event_id or ""), response_id if isinstance(response_id, str) else None)


def sound_bytes_of(data: bytes) -> int:
    """The length of the sound in an event of either side; of what cannot be read as it, the most that it can be."""
    try:
        event = _read_sound_event(data)
        sound = event.audio or event.delta
    except (ValueError, RecursionError):
        return len(data) * 3 // 4
    return max(0, bytes_of_base64(sound))


def query_of(scope: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The fields of the address of a handshake."""
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"))


def models_in_query(scope: Mapping[str, Any]) -> list[str]:
    """The models that the address of a handshake names, by OpenAI's name for that or by Azure's."""
    return [value for name, value in query_of(scope) if name in ("model", "deployment")]


def only_transcribes(scope: Mapping[str, Any]) -> bool:
    """Whether the address of a handshake says that nothing is to be answered.

    OpenAI's names no model then. Others may answer all the same: where there is a model, it is not believed.
    """
    query = query_of(scope)
    return ("intent", "transcription") in query and not any(name == "model" for name, _ in query)


def is_sideband(scope: Mapping[str, Any]) -> bool:
    """Whether the address of a handshake names a call that it watches."""
    return "call_id" in dict(query_of(scope))


def begins_anew(response: Mapping[str, object]) -> bool:
    """Whether a response reads input of its own alone: not the conversation, nor items of it."""
    items = response.get("input")
    return isinstance(items, list) and not any(
        item.get("type") == "item_reference" or item.keys() <= {"id", "type"} for item in map(mapping_of, items)
    )


def error_event(refusal: Refusal, *, event_id: str) -> dict[str, object]:
    """An `error` of the server about an event of the client."""
    error = {**mapping_of(openai_error(refusal)["error"]), "event_id": event_id or None}
    return {"type": "error", "event_id": f"event_{secrets.token_hex(10)}", "error": error}
