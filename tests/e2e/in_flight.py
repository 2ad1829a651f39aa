"""A gateway whose requests run until their client leaves, or `GET /open` lets all of them answer; some of them fail.

`GET /running` tells how many run in this worker, how many wait for a place, and how many its app was given.
"""

import asyncio
import json

from starlette.types import Receive, Scope, Send

from budget_middleware import BudgetMiddleware
from tests.e2e import plain_asgi

opened = asyncio.Event()
running: list[str] = []
given: list[str] = []


async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await plain_asgi.live(receive, send)
    elif scope["method"] == "GET":
        if scope["path"] == "/open":
            opened.set()
        told = {"running": len(running), "waiting": app.ledger.n_waiting, "given": len(given)}
        await plain_asgi.answer(send, told)
    else:
        request = json.loads((await receive())["body"])
        given.append(request["user"])
        if request["user"] == "fails":
            raise RuntimeError("the app fails")
        running.append(request["user"])
        try:
            if await _runs_on(receive):
                usage = {"prompt_tokens": 0, "completion_tokens": 1}
                await plain_asgi.answer(send, {"choices": [{"message": {"content": "so"}}], "usage": usage})
        finally:
            running.remove(request["user"])


async def _runs_on(receive: Receive) -> bool:
    """Until the gate opens; False once the client has left."""
    gate, left = asyncio.create_task(opened.wait()), asyncio.create_task(_receive_from(receive))
    await asyncio.wait([gate, left], return_when=asyncio.FIRST_COMPLETED)
    for task in (gate, left):
        task.cancel()
    return opened.is_set()


async def _receive_from(receive: Receive) -> None:
    await receive()


app = BudgetMiddleware(gateway)
