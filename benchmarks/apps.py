"""The app under load, bare and behind scripts of its own; `uvicorn benchmarks.apps:NAME` starts one of them."""

import asyncio
import os
from functools import cache
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from starlette.types import Receive, Scope, Send

from benchmarks.answers import WHOLE, stream

# What a counter needs at least: read, compare, add.
_SCRIPT = "local n = redis.call('INCRBY', KEYS[1], ARGV[1]) if n > 9e15 then return 0 end return n"

PACED_CHUNKS = 40
PAUSE_S = 0.5
_PLAIN, _WITH_USAGE = stream(with_usage=False), stream(with_usage=True)
_JSON_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(WHOLE))],
}
_STREAM_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the request, send the same answer each time: the least that any gateway does."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    body = await read_body(receive)
    if b'"stream": true' in body:
        await send(_STREAM_START)
        for event in _WITH_USAGE if b'"include_usage":' in body else _PLAIN:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    else:
        await send(_JSON_START)
        await send({"type": "http.response.body", "body": WHOLE})


async def paced(scope: Scope, receive: Receive, send: Send) -> None:
    """A stream as models send it: a chunk, a pause, so that thousands of them are open at once."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    await read_body(receive)
    await send(_STREAM_START)
    for event in _WITH_USAGE[-PACED_CHUNKS:]:
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(PAUSE_S)
    await send({"type": "http.response.body", "body": b""})


async def one_evalsha(scope: Scope, receive: Receive, send: Send) -> None:
    """What a handler pays that asks Redis once, with plain redis-py."""
    if scope["type"] == "http":
        await _client().evalsha(await _digest(), 1, "{bench}:n", "1")
    await bare(scope, receive, send)


async def two_evalsha(scope: Scope, receive: Receive, send: Send) -> None:
    """What the least guard pays: one script call before the answer, one after, with plain redis-py."""
    if scope["type"] == "http":
        client = _client()
        await client.evalsha(await _digest(), 1, "{bench}:n", "1")
        await client.evalsha(await _digest(), 1, "{bench}:n", "-1")
    await bare(scope, receive, send)


@cache
def _client() -> Any:
    pool = BlockingConnectionPool.from_url(os.environ["BENCH_REDIS_URL"], max_connections=64)
    return Redis(connection_pool=pool)


_digests: list[str] = []


async def _digest() -> str:
    if not _digests:
        _digests.append(await _client().script_load(_SCRIPT))
    return _digests[0]


async def read_body(receive: Receive) -> bytes:
    """A request's whole body."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
