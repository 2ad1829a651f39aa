"""A gateway without a framework: one ASGI function that forwards to an upstream, and one line that guards it.

    export UPSTREAM_URL=https://api.openai.com BUDGET_LIMITS='key=10/day'
    uvicorn plain_asgi:app

or `hypercorn plain_asgi:app`, or `granian --interface asgi plain_asgi:app`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx

from budget_middleware import BudgetMiddleware

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# They describe one connection, its encoding or its server: each of the two hops has its own.
OF_ONE_HOP = {b"accept-encoding", b"connection", b"content-length", b"host", b"transfer-encoding"}


async def gateway(scope: Message, receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "lifespan":
            await live(scope, receive, send)
        case "http":
            await answer_until_gone(scope, receive, send)


async def live(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    timeout = httpx.Timeout(10, read=600)
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM_URL"], timeout=timeout) as upstream:
        # The server gives each request a copy of this state.
        scope["state"]["upstream"] = upstream
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def answer_until_gone(scope: Message, receive: Receive, send: Send) -> None:
    """Forward the request; a client that leaves takes the upstream's work with it."""
    body = await body_of(receive)
    answering = asyncio.create_task(answer(scope, body, send))
    leaving = asyncio.create_task(gone(receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        answering.cancel()
        await asyncio.wait({answering, leaving})
    if not answering.cancelled():
        answering.result()


async def answer(scope: Message, body: bytes, send: Send) -> None:
    upstream: httpx.AsyncClient = scope["state"]["upstream"]
    headers = [(name, value) for name, value in scope["headers"] if name not in OF_ONE_HOP]
    async with upstream.stream(scope["method"], scope["path"], headers=headers, content=body) as answered:
        kept = [(b"content-type", answered.headers.get("content-type", "text/plain").encode())]
        await send({"type": "http.response.start", "status": answered.status_code, "headers": kept})
        async for chunk in answered.aiter_bytes():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def body_of(receive: Receive) -> bytes:
    body, has_more = b"", True
    while has_more:
        message = await receive()
        body += message.get("body", b"")
        has_more = message.get("more_body", False)
    return body


async def gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


app = BudgetMiddleware(gateway)
