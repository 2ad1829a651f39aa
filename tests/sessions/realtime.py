"""Events of OpenAI's realtime API; `plain` costs a tenth of a cent a token of output, whatever it is."""

from typing import Any

PATH = "/v1/realtime"
QUERY = b"model=plain"


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "realtime", "model": "plain", "output_modalities": ["text"], **fields}


def listening(detection: Any, **of_input: Any) -> dict[str, Any]:
    """A session that detects turns so; None for one that does not."""
    return session(audio={"input": {"turn_detection": detection, **of_input}})


def of_session(kind: str, given: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    told = {} if kind == "update" else {"event_id": "event_0"}
    return {"type": f"session.{kind}", **told, "session": given if given is not None else session(), **fields}


def create(*, tokens: int | str | None = 600, event_id: str = "", **fields: Any) -> dict[str, Any]:
    response = {**({} if tokens is None else {"max_output_tokens": tokens}), **fields}
    event = {"type": "response.create", "response": {"instructions": "x", **response}}
    return {**event, "event_id": event_id} if event_id else event


def sound(n_bytes: int = 400) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": "A" * n_bytes}


def created(id_: str = "resp_1", *, conversation: str | None = "conv_1") -> dict[str, Any]:
    response = {"id": id_, "object": "realtime.response", "status": "in_progress", "conversation_id": conversation}
    return {"type": "response.created", "event_id": "event_1", "response": response}


def delta(id_: str = "resp_1", text: str = "word") -> dict[str, Any]:
    of_item = {"item_id": "item_1", "output_index": 0, "content_index": 0}
    return {"type": "response.output_text.delta", "event_id": "event_2", "response_id": id_, **of_item, "delta": text}


def spoken(id_: str = "resp_1") -> dict[str, Any]:
    return {"type": "response.output_audio.delta", "event_id": "event_2", "response_id": id_, "delta": "AAAA"}


def usage_of(tokens: int, **fields: Any) -> dict[str, Any]:
    return {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens, **fields}


def done(
    tokens: int, id_: str = "resp_1", *, status: str = "completed", conversation: str | None = "conv_1", **fields: Any
) -> dict[str, Any]:
    response = {"id": id_, "status": status, "conversation_id": conversation, "usage": usage_of(tokens), **fields}
    return {"type": "response.done", "event_id": "event_3", "response": response}


def whole(tokens: int, id_: str = "resp_1", *, conversation: str | None = "conv_1") -> list[dict[str, Any]]:
    """A response of so many tokens, from its beginning to its end."""
    return [created(id_, conversation=conversation), delta(id_), done(tokens, id_, conversation=conversation)]


def transcribed(item: str = "item_1", **usage: Any) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "event_id": "event_4", "item_id": item, "transcript": "some words", "usage": usage}


def error(*, event_id: str | None = None) -> dict[str, Any]:
    named = {"type": "invalid_request_error", "code": "conversation_already_has_active_response", "message": "no"}
    return {"type": "error", "event_id": "event_5", "error": {**named, "event_id": event_id}}
