"""A gateway whose streams clients leave. The first part of a path names the app that answers it.

Those that listen stream for ever, until somebody tells them that the client has gone; those that never listen stream
so many words, and their usage.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware import BudgetMiddleware

WORDS = 60
PAUSE_S = 0.01

SSE = [(b"content-type", b"text/event-stream")]


def event(document: object) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


async def words() -> AsyncIterator[bytes]:
    for _ in count():
        yield event({"choices": [{"index": 0, "delta": {"content": "word"}}]})
        await asyncio.sleep(PAUSE_S)


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Asks for the request, and never again for anything."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": SSE})
    stream = words()
    for _ in range(WORDS):
        await send({"type": "http.response.body", "body": await anext(stream), "more_body": True})
    usage = event({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": WORDS}})
    await send({"type": "http.response.body", "body": usage + b"data: [DONE]\n\n", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def listening(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    gone = asyncio.ensure_future(receive())
    await send({"type": "http.response.start", "status": 200, "headers": SSE})
    async for word in words():
        if gone.done():
            return
        await send({"type": "http.response.body", "body": word, "more_body": True})


async def starlette(scope: Scope, receive: Receive, send: Send) -> None:
    await StreamingResponse(words(), media_type="text/event-stream")(scope, receive, send)


async def forward(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


def based(app: ASGIApp) -> ASGIApp:
    return BaseHTTPMiddleware(app, forward)


APPS: dict[str, ASGIApp] = {
    "deaf": BudgetMiddleware(deaf),
    "deaf-within-base": based(BudgetMiddleware(deaf)),
    "listening": BudgetMiddleware(listening),
    "starlette": BudgetMiddleware(starlette),
    "base-within": BudgetMiddleware(based(starlette)),
    "within-base": based(BudgetMiddleware(starlette)),
    "base-within-base": based(BudgetMiddleware(based(starlette))),
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """No lifespan: what is owed is booked without one, too."""
    assert scope["type"] == "http"
    await APPS[scope["path"].split("/")[1]](scope, receive, send)
