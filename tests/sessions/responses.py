"""Events of OpenAI's responses on a WebSocket; the model `plain` costs a tenth of a cent a token of output."""

from typing import Any


def create(*, tokens: int = 600, lane: str = "", **fields: Any) -> dict[str, Any]:
    event = {"type": "response.create", "model": "plain", "max_output_tokens": tokens, "input": "", **fields}
    return {**event, "stream_id": lane} if lane else event


def _event(kind: str, lane: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "sequence_number": 0, **fields, **({"stream_id": lane} if lane else {})}


def created(id_: str = "resp_1", *, lane: str = "", tokens: int = 600) -> dict[str, Any]:
    response = {"id": id_, "model": "plain", "status": "in_progress", "max_output_tokens": tokens, "output": []}
    return _event("response.created", lane, response=response)


def delta(text: str = "word", *, lane: str = "") -> dict[str, Any]:
    return _event("response.output_text.delta", lane, delta=text)


def completed(tokens: int, id_: str = "resp_1", *, lane: str = "", kind: str = "completed") -> dict[str, Any]:
    usage = {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}
    return _event(f"response.{kind}", lane, response={"id": id_, "model": "plain", "status": kind, "usage": usage})


def error(status: int = 400, *, lane: str = "") -> dict[str, Any]:
    named = {"type": "invalid_request_error", "code": "previous_response_not_found", "message": "no such response"}
    return {"type": "error", "status": status, "error": named, **({"stream_id": lane} if lane else {})}


def whole(tokens: int, id_: str = "resp_1", *, lane: str = "") -> list[dict[str, Any]]:
    """A response of so many tokens, from its beginning to its end."""
    return [created(id_, lane=lane), delta(lane=lane), completed(tokens, id_, lane=lane)]
