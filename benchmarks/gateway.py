"""A gateway that passes everything through with aiohttp, alone and guarded: `uvicorn benchmarks.gateway:NAME`."""

import os
from functools import cache

import aiohttp
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.answers import PATH
from benchmarks.apps import bare as static
from benchmarks.apps import read_body
from benchmarks.guarded import guard

_KEPT = frozenset({"content-type", "content-length"})


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Send the body on to the provider, and its answer back chunk by chunk."""
    if scope["type"] == "lifespan":
        await static(scope, receive, send)
        return
    body = await read_body(receive)
    async with _session().post(os.environ["BENCH_UPSTREAM_URL"] + PATH, data=body) as answer:
        headers = [
            (name.lower().encode(), value.encode()) for name, value in answer.headers.items() if name.lower() in _KEPT
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@cache
def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers={"content-type": "application/json"})


# uvicorn asks more than once.
@cache
def __getattr__(name: str) -> ASGIApp:
    if name == "redis_3":
        return guard(bare, accounts=3, namespace=name)
    raise AttributeError(name)
