"""A gateway whose provider answers every API in its own shape, guarded by the one line, as a worker process.

Each answer has 100 tokens of output, and costs as many micro-dollars. With the header `x-play: slow`, a stream takes
about a second. Requests are counted by key outside the guard, where the refused ones pass too: GET /count?key=.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware import BudgetMiddleware
from tests.apis.cuts import as_events, as_frames, as_lines
from tests.sdk.batch_provider import ROUTES as BATCHES
from tests.sdk.batch_provider import create_gemini
from tests.sdk.bedrock_job_provider import ROUTES as BEDROCK_JOBS
from tests.sdk.interaction_provider import ROUTES as INTERACTIONS
from tests.sdk.job_provider import ROUTES as JOBS
from tests.sdk.vertex_provider import ROUTES as VERTEX_JOBS

MODEL = "test-model"
OUTPUT_TOKENS = 100
TEXT = "word" * OUTPUT_TOKENS
SLOW_S = 1.2

OPENAI_USAGE = {"prompt_tokens": 10, "completion_tokens": OUTPUT_TOKENS, "total_tokens": 10 + OUTPUT_TOKENS}
RESPONSES_USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": OUTPUT_TOKENS,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 10 + OUTPUT_TOKENS,
}
GEMINI_USAGE = {"promptTokenCount": 10, "candidatesTokenCount": OUTPUT_TOKENS}


def response_object(**fields: object) -> dict[str, object]:
    output = [
        {
            "type": "message",
            "id": "msg",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
        }
    ]
    plain = {"id": "resp", "object": "response", "created_at": 0, "model": MODEL, "error": None}
    more = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "metadata": {}}
    return {**plain, **more, "status": "completed", "output": output, "usage": RESPONSES_USAGE, **fields}


def message_object(**fields: object) -> dict[str, object]:
    usage = {"input_tokens": 10, "output_tokens": OUTPUT_TOKENS}
    message = {"id": "msg", "type": "message", "role": "assistant", "model": MODEL, "stop_sequence": None}
    return {
        **message,
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "usage": usage,
        **fields,
    }


def content_object(text: str, **fields: object) -> dict[str, object]:
    candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    return {"candidates": [candidate], "modelVersion": MODEL, **fields}


async def completions(_: Request) -> Response:
    choice = {"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": None}
    completion = {"id": "c", "object": "text_completion", "created": 0, "model": MODEL}
    return JSONResponse({**completion, "choices": [choice], "usage": OPENAI_USAGE})


async def responses(request: Request) -> Response:
    asked = await request.json()
    if asked.get("background"):
        return JSONResponse(response_object(status="queued", background=True, output=[], usage=None))
    if not asked.get("stream"):
        return JSONResponse(response_object())
    at = {"item_id": "msg", "output_index": 0, "content_index": 0, "logprobs": []}
    begun = response_object(status="in_progress", output=[], usage=None)
    return stream(
        request,
        as_events({"type": "response.created", "sequence_number": 0, "response": begun}),
        as_events({"type": "response.output_text.delta", "sequence_number": 1, "delta": TEXT, **at}),
        as_events({"type": "response.completed", "sequence_number": 2, "response": response_object()}),
    )


async def stored_response(_: Request) -> Response:
    return JSONResponse(response_object(background=True))


async def embeddings(_: Request) -> Response:
    # The model has no price for input: a hundred tokens of output stand for what an embedding costs.
    data = [{"object": "embedding", "index": 0, "embedding": [0.1]}]
    return JSONResponse({"object": "list", "model": MODEL, "data": data, "usage": OPENAI_USAGE})


async def images(request: Request) -> Response:
    await request.body()
    usage = {"input_tokens": 10, "output_tokens": OUTPUT_TOKENS, "total_tokens": 110}
    return JSONResponse({"created": 0, "data": [{"b64_json": "AAAA"}], "usage": usage})


async def speech(_: Request) -> Response:
    return Response(b"ID3" + bytes(1_000), media_type="audio/mpeg")


async def transcriptions(request: Request) -> Response:
    await request.body()
    usage = {"type": "tokens", "input_tokens": 10, "output_tokens": OUTPUT_TOKENS, "total_tokens": 110}
    return JSONResponse({"text": TEXT, "usage": usage})


async def moderations(_: Request) -> Response:
    return JSONResponse({"id": "m", "model": "omni", "results": []})


async def messages(request: Request) -> Response:
    if not (await request.json()).get("stream"):
        return JSONResponse(message_object())
    begun = message_object(content=[], stop_reason=None, usage={"input_tokens": 10, "output_tokens": 1})
    stopped = {"stop_reason": "end_turn", "stop_sequence": None}
    return stream(
        request,
        as_events(
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ),
        as_events({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}}),
        as_events(
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stopped, "usage": {"output_tokens": OUTPUT_TOKENS}},
            {"type": "message_stop"},
        ),
    )


async def count_tokens(_: Request) -> Response:
    return JSONResponse({"input_tokens": 10})


async def gemini(request: Request) -> Response:
    _, _, method = request.path_params["call"].rpartition(":")
    last = content_object("", usageMetadata=GEMINI_USAGE)
    match method:
        case "generateContent":
            return JSONResponse(content_object(TEXT, usageMetadata=GEMINI_USAGE))
        case "batchGenerateContent":
            return await create_gemini(request)
        case "countTokens":
            return JSONResponse({"totalTokens": 10})
        case _ if request.query_params.get("alt") == "sse":
            return stream(request, as_events(content_object(TEXT)), as_events(last))
        case _:
            pieces = [json.dumps(content_object(TEXT)), json.dumps(last)]
            return stream(request, f"[{pieces[0]}".encode(), f",\n{pieces[1]}]".encode(), media_type="application/json")


async def rerank(request: Request) -> Response:
    documents = (await request.json())["documents"]
    results = [{"index": index, "relevance_score": 0.9} for index, _ in enumerate(documents)]
    return JSONResponse({"results": results, "meta": {"billed_units": {"search_units": min(1, len(documents))}}})


async def ollama(request: Request) -> Response:
    line = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "done": False}
    last = {**line, "message": {"role": "assistant", "content": ""}, "done": True}
    return stream(
        request,
        as_lines({**line, "message": {"role": "assistant", "content": TEXT}}),
        as_lines({**last, "prompt_eval_count": 10, "eval_count": OUTPUT_TOKENS}),
        media_type="application/x-ndjson",
    )


async def bedrock(request: Request) -> Response:
    usage = {"inputTokens": 10, "outputTokens": OUTPUT_TOKENS, "totalTokens": 110}
    if request.path_params["call"].endswith("/converse"):
        message = {"role": "assistant", "content": [{"text": TEXT}]}
        return JSONResponse({"output": {"message": message}, "usage": usage, "stopReason": "end_turn", "metrics": {}})
    return stream(
        request,
        as_frames({"contentBlockIndex": 0, "delta": {"text": TEXT}}),
        as_frames({"usage": usage, "metrics": {"latencyMs": 1}}),
        media_type="application/vnd.amazon.eventstream",
    )


def stream(request: Request, *pieces: bytes, media_type: str = "text/event-stream") -> Response:
    pause_s = SLOW_S / len(pieces) if request.headers.get("x-play") == "slow" else 0

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(pause_s)

    return StreamingResponse(body(), media_type=media_type)


gateway = Starlette(
    routes=[
        Route("/v1/completions", completions, methods=["POST"]),
        Route("/v1/responses", responses, methods=["POST"]),
        Route("/v1/responses/{id}", stored_response),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        Route("/v1/images/{kind}", images, methods=["POST"]),
        Route("/v1/audio/speech", speech, methods=["POST"]),
        Route("/v1/audio/transcriptions", transcriptions, methods=["POST"]),
        Route("/v1/audio/translations", transcriptions, methods=["POST"]),
        Route("/v1/moderations", moderations, methods=["POST"]),
        Route("/v1/messages", messages, methods=["POST"]),
        Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
        Route("/{version}/models/{call}", gemini, methods=["POST"]),
        Route("/v1/rerank", rerank, methods=["POST"]),
        Route("/api/chat", ollama, methods=["POST"]),
        Route("/model/{call:path}", bedrock, methods=["POST"]),
        *BATCHES,
        *BEDROCK_JOBS,
        *INTERACTIONS,
        *JOBS,
        *VERTEX_JOBS,
    ]
)


class RequestCounter:
    """Counts requests by the raw key of any of the APIs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            if request.url.path == "/count":
                await JSONResponse(self._requests[request.query_params["key"]])(scope, receive, send)
                return
            names = ("authorization", "x-api-key", "x-goog-api-key")
            key = next((request.headers[name] for name in names if name in request.headers), "")
            self._requests[key.removeprefix("Bearer ")] += 1
        await self._app(scope, receive, send)


app = RequestCounter(BudgetMiddleware(gateway))
