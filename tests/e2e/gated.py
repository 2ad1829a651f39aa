"""A gateway whose answers wait at a gate of its worker.

`GET /open` opens it, `GET /waiting` tells how many requests wait for budget, and which the app was given.
"""

import asyncio
import json
import os

from starlette.types import Receive, Scope, Send

from budget_middleware import BudgetMiddleware
from budget_middleware.ledger.waiting import lines as waiting_lines
from tests.e2e import plain_asgi

# An hour in a worker where nobody is to ask without having been woken.
waiting_lines.RETRY_S = float(os.environ.get("RETRY_S", "1"))

TOKENS = 100
opened = asyncio.Event()
served: list[str] = []


async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await plain_asgi.live(receive, send)
    elif scope["method"] == "GET":
        if scope["path"] == "/open":
            opened.set()
        await plain_asgi.answer(send, {"waiting": app.ledger.n_waiting, "served": served})
    else:
        request = json.loads((await receive())["body"])
        served.append(request["user"])
        await opened.wait()
        usage = {"prompt_tokens": 0, "completion_tokens": request.get("metadata", {}).get("tokens", TOKENS)}
        choice = {"index": 0, "message": {"role": "assistant", "content": "so"}, "finish_reason": "stop"}
        answer = {"id": "c", "object": "chat.completion", "created": 0, "model": request["model"], "choices": [choice]}
        await plain_asgi.answer(send, {**answer, "usage": usage})


app = BudgetMiddleware(gateway)
