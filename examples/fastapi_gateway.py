"""A FastAPI gateway with an agent: chat completions are forwarded, and one endpoint makes two calls for one request.

    export UPSTREAM_URL=https://api.openai.com BUDGET_LIMITS='key=10/day' BUDGET_ROUTES=/agents/review=openai-chat
    uvicorn fastapi_gateway:app

The middleware books what an answer tells. What it does not show, the app adds itself: `request.state.budget`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from budget_middleware import BudgetHandle, BudgetMiddleware

CHAT = "/v1/chat/completions"
# They describe one connection, its encoding or its body: each of the two hops has its own.
OF_ONE_HOP = {"accept-encoding", "connection", "content-length", "host", "transfer-encoding"}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
    timeout = httpx.Timeout(10, read=600)
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM_URL"], timeout=timeout) as upstream:
        yield {"upstream": upstream}


app = FastAPI(lifespan=lifespan)
app.add_middleware(BudgetMiddleware)


@app.post(CHAT)
async def chat_completions(request: Request) -> Response:
    upstream: httpx.AsyncClient = request.state.upstream
    call = upstream.build_request("POST", CHAT, headers=forwarded(request), content=await request.body())
    answer = await upstream.send(call, stream=True)
    media_type = answer.headers.get("content-type")
    if answer.is_success and str(media_type).startswith("text/event-stream"):
        return StreamingResponse(chunks_of(answer), media_type=media_type)
    return Response(await answer.aread(), answer.status_code, media_type=media_type)


@app.post("/agents/review")
async def review(request: Request) -> Response:
    """A draft, then the same model's review of it. The client sees only the review, and pays for both."""
    asked: dict[str, Any] = await request.json()
    draft = await complete(request, asked)
    budget: BudgetHandle = request.state.budget
    used = draft["usage"]
    budget.add_usage(asked["model"], input_tokens=used["prompt_tokens"], output_tokens=used["completion_tokens"])
    text = {"role": "user", "content": f"Review: {draft['choices'][0]['message']['content']}"}
    return JSONResponse(await complete(request, {**asked, "messages": [text]}))


async def complete(request: Request, asked: dict[str, Any]) -> dict[str, Any]:
    upstream: httpx.AsyncClient = request.state.upstream
    answer = await upstream.post(CHAT, headers=forwarded(request), json={**asked, "stream": False})
    completion: dict[str, Any] = answer.raise_for_status().json()
    return completion


async def chunks_of(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    finally:
        await answer.aclose()


def forwarded(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name not in OF_ONE_HOP}
