"""The apps under load: the same static chat completion, bare, behind scripts of its own, and behind the middleware.

Each is a module attribute made on demand, so that `uvicorn benchmarks.apps:NAME` starts just one.
"""

import json
import os
from functools import cache
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from starlette.types import ASGIApp, Receive, Scope, Send

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "A short and friendly answer. " * 8},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 42, "completion_tokens": 48, "total_tokens": 90},
    }
).encode()

_THREE_ACCOUNTS = "key=1000000/month; team=1000000/month; global=1000000/month"
# A script that does what a counter needs at least: read, compare, add.
_SCRIPT = "local n = redis.call('INCRBY', KEYS[1], ARGV[1]) if n > 9e15 then return 0 end return n"


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    while (await receive()).get("more_body"):
        pass
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(ANSWER)).encode()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": ANSWER})


async def two_evalsha(scope: Scope, receive: Receive, send: Send) -> None:
    """What a handler pays that does the least: one script call before, one after, with plain redis-py."""
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


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _guarded(**settings: Any) -> ASGIApp:
    from budget_middleware import BudgetMiddleware

    return BudgetMiddleware(bare, accounts="key=token; team=header:x-team", **settings)


def __getattr__(name: str) -> ASGIApp:
    match name:
        case "memory":
            return _guarded(limits=_THREE_ACCOUNTS)
        case "redis_1":
            return _guarded(
                store_url=os.environ["BENCH_REDIS_URL"],
                namespace="bench1",
                limits="key=1000000/month",
            )
        case "redis_3":
            return _guarded(store_url=os.environ["BENCH_REDIS_URL"], namespace="bench3", limits=_THREE_ACCOUNTS)
    raise AttributeError(name)
