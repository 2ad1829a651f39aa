"""A gateway whose answers wait at a gate of its worker.

`GET /open` opens it, `GET /waiting` tells how many requests wait for budget, and which the app was given.
"""

import asyncio
import json
import os

from starlette.types import Receive, Scope, Send

from budget_middleware import BudgetMiddleware
from budget_middleware.ledger import waiting_lines

# An hour in a worker where nobody is to ask without having been woken.
waiting_lines.RETRY_S = float(os.environ.get("RETRY_S", "1"))

TOKENS = 100
opened = asyncio.Event()
served: list[str] = []


async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["method"] == "GET":
        if scope["path"] == "/open":
            opened.set()
        await _answer(send, {"waiting": app.ledger.n_waiting, "served": served})
    else:
        request = json.loads((await receive())["body"])
        served.append(request["user"])
        await opened.wait()
        usage = {"prompt_tokens": 0, "completion_tokens": request.get("metadata", {}).get("tokens", TOKENS)}
        choice = {"index": 0, "message": {"role": "assistant", "content": "so"}, "finish_reason": "stop"}
        answer = {"id": "c", "object": "chat.completion", "created": 0, "model": request["model"], "choices": [choice]}
        await _answer(send, {**answer, "usage": usage})


async def _answer(send: Send, document: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


app = BudgetMiddleware(gateway)
