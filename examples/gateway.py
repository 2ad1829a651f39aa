"""A gateway of one file: it forwards chat completions to an upstream, and one line puts a budget in front.

    export BUDGET_LIMITS='key=10/day'
    uvicorn gateway:app

UPSTREAM_URL names another provider than OpenAI.
Clients call it as they would call OpenAI, with its address as their `base_url`.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from budget_middleware import BudgetMiddleware

# They describe one connection, its encoding or its server: each of the two hops has its own.
OF_ONE_HOP = {"connection", "content-encoding", "content-length", "date", "host", "server", "transfer-encoding"}


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, object]]:
    base_url = os.environ.get("UPSTREAM_URL", "https://api.openai.com")
    async with httpx.AsyncClient(base_url=base_url, timeout=httpx.Timeout(10, read=600)) as upstream:
        yield {"upstream": upstream}


async def chat_completions(request: Request) -> Response:
    upstream: httpx.AsyncClient = request.state.upstream
    call = upstream.build_request(
        "POST", request.url.path, headers=forwarded(request.headers), content=await request.body()
    )
    try:
        answer = await upstream.send(call, stream=True)
        headers = forwarded(answer.headers)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return StreamingResponse(chunks_of(answer), answer.status_code, headers)
        return Response(await answer.aread(), answer.status_code, headers)
    except httpx.HTTPError as error:
        message = f"The upstream gave no answer: {type(error).__name__}"
        return JSONResponse({"error": {"message": message, "type": "api_error"}}, status_code=502)


async def chunks_of(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    finally:
        await answer.aclose()


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in OF_ONE_HOP}


app = Starlette(routes=[Route("/v1/chat/completions", chat_completions, methods=["POST"])], lifespan=lifespan)
app.add_middleware(BudgetMiddleware)
