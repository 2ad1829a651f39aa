"""Rate limiters that people put where we stand, one hit a request: `uvicorn benchmarks.rivals:NAME`."""

import os
from functools import cache
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.answers import PATH, WHOLE
from benchmarks.apps import bare


def _limits_hit() -> ASGIApp:
    from limits import parse
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import FixedWindowRateLimiter

    storage = RedisStorage(f"async+{os.environ['BENCH_REDIS_URL']}", implementation="redispy", max_connections=64)
    limiter = FixedWindowRateLimiter(storage)
    limit = parse("1000000000/day")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert await limiter.hit(limit, "bench")
        await bare(scope, receive, send)

    return app


def _slowapi_hit() -> ASGIApp:
    from slowapi import Limiter
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    limiter = Limiter(
        key_func=lambda request: request.headers["authorization"], storage_uri=os.environ["BENCH_REDIS_URL"]
    )

    @limiter.limit("1000000000/day")  # type: ignore[untyped-decorator]
    async def complete(request: Request) -> Response:
        await request.body()
        return Response(WHOLE, media_type="application/json")

    app = Starlette(routes=[Route(PATH, complete, methods=["POST"])])
    app.state.limiter = limiter
    return app


# uvicorn asks more than once.
@cache
def __getattr__(name: str) -> Any:
    if make := {"limits_hit": _limits_hit, "slowapi_hit": _slowapi_hit}.get(name):
        return make()
    raise AttributeError(name)
