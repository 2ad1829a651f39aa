"""Responses on WebSockets, bare and guarded: `uvicorn benchmarks.session_apps:NAME`."""

import json
from functools import cache

from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.apps import _live as live
from benchmarks.guarded import guard


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, and begin a response for each event; it ends when the client says so."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    begun = {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-4o-mini"}}
    while (await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": json.dumps(begun)})


@cache
def __getattr__(name: str) -> ASGIApp:
    if name == "guarded":
        return guard(bare, accounts=3)
    raise AttributeError(name)
