"""A gateway whose answers wait until they are let go: `POST /let-go`."""

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from budget_middleware import BudgetMiddleware

_let_go = asyncio.Event()


async def complete(request: Request) -> JSONResponse:
    body = await request.json()
    if body.get("user") == "waits":
        await _let_go.wait()
    tokens = {"prompt_tokens": 1_000, "completion_tokens": body["max_tokens"]}
    usage = {**tokens, "total_tokens": sum(tokens.values())}
    return JSONResponse({"object": "chat.completion", "model": body["model"], "choices": [], "usage": usage})


async def let_go(_: Request) -> JSONResponse:
    _let_go.set()
    return JSONResponse({})


routes = [
    Route("/let-go", let_go, methods=["GET"]),
    Route("/v1/chat/completions", complete, methods=["POST"]),
]
app = BudgetMiddleware(Starlette(routes=routes))
