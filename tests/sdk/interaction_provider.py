"""The provider's interactions, as the Gemini API has them: in the background one is done as soon as somebody asks."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.apis.cuts import as_events

OUTPUT_TOKENS = 100
TEXT = "word" * OUTPUT_TOKENS
_numbers = itertools.count(1)
_asked: dict[str, dict[str, Any]] = {}


def interaction(id_: str, status: str = "completed", **fields: Any) -> dict[str, Any]:
    who: dict[str, Any] = {name: _asked[id_][name] for name in ("model", "agent") if name in _asked[id_]}
    plain = {"id": id_, "object": "interaction", "created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z"}
    return {**plain, **who, "status": status, **fields}


def done(id_: str) -> dict[str, Any]:
    counts = {"total_input_tokens": 10, "total_output_tokens": 60, "total_thought_tokens": 40, "total_tokens": 110}
    by_modality = {"output_tokens_by_modality": [{"modality": "text", "tokens": 60}]}
    steps = [{"type": "model_output", "content": [{"type": "text", "text": TEXT}]}]
    return interaction(id_, steps=steps, usage={**counts, **by_modality})


async def create(request: Request) -> Response:
    id_ = f"v1_{next(_numbers)}"
    asked = _asked[id_] = await request.json()
    if asked.get("background"):
        return JSONResponse(interaction(id_, "in_progress", steps=[]))
    if asked.get("stream"):
        return StreamingResponse(_events(id_), media_type="text/event-stream")
    return JSONResponse(done(id_))


async def _events(id_: str) -> AsyncIterator[bytes]:
    output = {"index": 0, "event_id": "e"}
    yield as_events({"event_type": "interaction.created", "interaction": interaction(id_, "in_progress")})
    yield as_events({"event_type": "step.start", "step": {"type": "model_output"}, **output})
    yield as_events({"event_type": "step.delta", "delta": {"type": "text", "text": TEXT}, **output})
    yield as_events({"event_type": "step.stop", **output})
    yield as_events({"event_type": "interaction.completed", "interaction": {**done(id_), "steps": []}})
    yield b"data: [DONE]\n\n"


async def retrieve(request: Request) -> Response:
    return JSONResponse(done(request.path_params["id"]))


async def decide(request: Request) -> Response:
    answers = {id_: {"type": "noul", "noul": 0.9, "confidence": 0.9} for id_ in (await request.json())["questions"]}
    usage = {"total_input_tokens": 10, "total_output_tokens": 100, "total_tokens": 110}
    return JSONResponse({"answers": answers, "usage": usage})


ROUTES = [
    Route("/{version}/decisions", decide, methods=["POST"]),
    Route("/{version}/interactions", create, methods=["POST"]),
    Route("/{version}/interactions/{id}", retrieve),
    Route("/{version}/interactions/{id}/cancel", retrieve, methods=["POST"]),
]
