"""A gateway whose event loop is late: each call takes so much CPU, and some handlers block it altogether."""

import asyncio
import json
import os
import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from budget_middleware import BudgetMiddleware

CPU_S = float(os.environ.get("CPU_MS", "0")) / 1000
USAGE = {"prompt_tokens": 0, "completion_tokens": 200, "total_tokens": 200}


async def chat(request: Request) -> Response:
    """Costs what it was estimated at: 200 tokens."""
    await request.body()
    until = time.thread_time() + CPU_S
    while time.thread_time() < until:
        pass
    await asyncio.sleep(0)
    message = {"role": "assistant", "content": "x" * 800}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Response(json.dumps({"model": "m", "choices": [choice], "usage": USAGE}), media_type="application/json")


async def block(request: Request) -> Response:
    """A handler that calls a blocking library."""
    time.sleep(float(request.query_params["s"]))  # noqa: ASYNC251 - that is the fault
    return JSONResponse({})


app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"]), Route("/block", block)])
app.add_middleware(BudgetMiddleware)
