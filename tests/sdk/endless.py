"""A gateway whose provider writes much more than any budget here allows, guarded by the one line, as a worker process.

How many of its streams were closed, and so cancelled upstream, is what GET /closed answers.
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from budget_middleware import BudgetMiddleware
from tests.apis.cuts import as_events
from tests.sdk.provider import MODEL, content_object, message_object, response_object

MOST_WORDS = 2_000
closed: list[str] = []


def endless(name: str, word: bytes, *, begin: bytes = b"") -> Response:
    async def body() -> AsyncIterator[bytes]:
        try:
            yield begin
            for _ in range(MOST_WORDS):
                yield word
                await asyncio.sleep(0.001)
        finally:
            closed.append(name)

    return StreamingResponse(body(), media_type="text/event-stream")


async def chat(_: Request) -> Response:
    choice = {"index": 0, "delta": {"content": "word"}, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice]}
    return endless("chat", as_events(chunk))


async def responses(_: Request) -> Response:
    at = {"item_id": "msg", "output_index": 0, "content_index": 0, "logprobs": []}
    begun = response_object(status="in_progress", output=[], usage=None)
    created = {"type": "response.created", "sequence_number": 0, "response": begun}
    word = {"type": "response.output_text.delta", "sequence_number": 1, "delta": "word", **at}
    return endless("responses", as_events(word), begin=as_events(created))


async def messages(_: Request) -> Response:
    begun = message_object(content=[], stop_reason=None, usage={"input_tokens": 10, "output_tokens": 1})
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    word = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word"}}
    return endless("messages", as_events(word), begin=as_events({"type": "message_start", "message": begun}, block))


async def gemini(_: Request) -> Response:
    return endless("gemini", as_events(content_object("word")))


async def closed_streams(_: Request) -> Response:
    return JSONResponse(closed)


app = BudgetMiddleware(
    Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/responses", responses, methods=["POST"]),
            Route("/v1/messages", messages, methods=["POST"]),
            Route("/{version}/models/{call}", gemini, methods=["POST"]),
            Route("/closed", closed_streams),
        ]
    )
)
