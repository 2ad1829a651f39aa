"""A gateway that tells what reached it: the body as it came, the fields of a form as Starlette reads them."""

import hashlib
import json
import resource

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from budget_middleware import BudgetMiddleware


async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    request = Request(scope, receive)
    if scope["method"] == "GET":
        told: dict[str, object] = {"peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    elif request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form() as form:
            file = form["file"]
            told = {"model": form["model"], "file_bytes": getattr(file, "size", None)}
    else:
        body = await request.body()
        told = {"sha": hashlib.sha256(body).hexdigest(), "encoding": request.headers.get("content-encoding")}
    usage = {"prompt_tokens": 0, "completion_tokens": 600}
    answer = told if "peak_kb" in told or "model" in told else {**told, "choices": [], "usage": usage}
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
    await send(start)
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


app = BudgetMiddleware(gateway)
