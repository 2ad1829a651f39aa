"""A gateway of a chain, as a worker process of a test runs it: it answers itself, or passes each call on."""

import json
import os

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from budget_middleware import BudgetMiddleware

UPSTREAM = os.environ.get("CHAIN_UPSTREAM", "")
USAGE = {"prompt_tokens": 0, "completion_tokens": 2}
_OF_THE_HOP = ("content-length", "transfer-encoding", "connection", "date", "server")


async def answer(request: Request) -> Response:
    if not (await request.json()).get("stream"):
        return JSONResponse({"choices": [{"message": {"content": "word"}}], "usage": USAGE})
    events = ({"choices": [{"delta": {"content": "word"}}]}, {"choices": [], "usage": USAGE})
    lines = [*(f"data: {json.dumps(each)}\n\n" for each in events), "data: [DONE]\n\n"]
    return StreamingResponse(iter(lines), media_type="text/event-stream")


async def pass_on(request: Request) -> Response:
    headers = {name: request.headers[name] for name in ("authorization", "content-type")}
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=UPSTREAM)) as client:
        answered = await client.post(f"http://inner{request.url.path}", content=await request.body(), headers=headers)
    kept = {name: value for name, value in answered.headers.items() if name not in _OF_THE_HOP}
    return Response(answered.content, answered.status_code, headers=kept)


app = Starlette(routes=[Route("/v1/chat/completions", pass_on if UPSTREAM else answer, methods=["POST"])])
app.add_middleware(BudgetMiddleware)
