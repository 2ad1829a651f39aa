"""A gateway guarded by the version in whose tree it is started. It knows nothing of the tests' other modules.

A request's metadata says who pays (`payer`), what it is (`play`) and how much (`words`, `prompt`). A stream sends its
first word, waits until the file `gate` exists, and sends the rest. What was served to its end is a JSON line in the
served log, flushed before the app returns.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from starlette.types import Receive, Scope, Send

import budget_middleware

if Path(budget_middleware.__file__).parents[1] != Path.cwd():
    sys.exit(f"started in {Path.cwd()}, but {budget_middleware.__file__} was imported")

SERVED = Path(os.environ["SERVED_LOG"]).open("a", buffering=1)  # noqa: SIM115 - open as long as the process lives


async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    request = json.loads(body)
    await (_stream if request.get("stream") else _answer)(request, send)
    SERVED.write(json.dumps(request["metadata"]) + "\n")


async def _answer(request: dict, send: Send) -> None:
    message = {"role": "assistant", "content": "word" * request["metadata"]["words"]}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    answer = {**_chunk(request), "object": "chat.completion", "choices": choices, "usage": _usage(request)}
    await _start(send, b"application/json")
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def _stream(request: dict, send: Send) -> None:
    words, gate = request["metadata"]["words"], Path(request["metadata"]["gate"])
    word = {**_chunk(request), "choices": [{"index": 0, "delta": {"content": "word"}}]}
    await _start(send, b"text/event-stream")
    await _event(send, word)
    while not gate.exists():  # noqa: ASYNC240 - a look at a local file blocks nobody
        await asyncio.sleep(0.02)
    for _ in range(words - 1):
        await _event(send, word)
    await _event(send, {**_chunk(request), "choices": [], "usage": _usage(request)})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


def _chunk(request: dict) -> dict:
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}


def _usage(request: dict) -> dict:
    return {"prompt_tokens": request["metadata"]["prompt"], "completion_tokens": request["metadata"]["words"]}


async def _start(send: Send, content_type: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})


async def _event(send: Send, document: dict) -> None:
    await send({"type": "http.response.body", "body": f"data: {json.dumps(document)}\n\n".encode(), "more_body": True})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


app = budget_middleware.BudgetMiddleware(gateway)
