"""A local provider with OpenAI's chat completions, to try a gateway against: no network, no key, no bill.

    uvicorn provider:app --port 8001

Each word is a token. A prompt of n words is answered with ten times as many, or with as many as the request's
maximum allows, one every 20 ms. The header `x-provider-fail` asks for trouble: a status such as `503`, or `cut`
for a stream that breaks off halfway.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from itertools import cycle, islice
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]

WORD_S = 0.02
SENTENCE = "a budget is a promise about money that has not been spent yet so count it twice"


async def chat_completions(request: Request) -> Response:
    failure = request.headers.get("x-provider-fail", "")
    if failure.isdigit():
        error = {"message": "failed, as you asked", "type": "api_error"}
        return JSONResponse({"error": error}, status_code=int(failure))
    body = await request.json()
    prompt = [word for message in body["messages"] for word in str(message["content"]).split()]
    asked = body.get("max_completion_tokens") or body.get("max_tokens") or 10 * len(prompt)
    words = list(islice(cycle(SENTENCE.split()), min(10 * len(prompt), asked)))
    usage = {
        "prompt_tokens": len(prompt),
        "completion_tokens": len(words),
        "total_tokens": len(prompt) + len(words),
    }
    if body.get("stream"):
        events = stream(body, words, usage, cut_after=len(words) // 2 if failure == "cut" else None)
        return StreamingResponse(events, media_type="text/event-stream")
    await asyncio.sleep(len(words) * WORD_S)
    message = {"role": "assistant", "content": " ".join(words)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return JSONResponse(completion("chat.completion", body, [choice]) | {"usage": usage})


async def stream(body: Json, words: Sequence[str], usage: Json, *, cut_after: int | None) -> AsyncIterator[str]:
    wants_usage = (body.get("stream_options") or {}).get("include_usage", False)
    # As OpenAI does it: null in every chunk, then the figures in one more, which has no choices.
    no_usage_yet: Json = {"usage": None} if wants_usage else {}
    yield event(chunk(body, {"role": "assistant", "content": ""}) | no_usage_yet)
    for n_sent, word in enumerate(words):
        if n_sent == cut_after:
            raise ConnectionAbortedError("cut, as you asked")
        await asyncio.sleep(WORD_S)
        yield event(chunk(body, {"content": f"{word} "}) | no_usage_yet)
    yield event(chunk(body, {}, finish_reason="stop") | no_usage_yet)
    if wants_usage:
        yield event(completion("chat.completion.chunk", body, []) | {"usage": usage})
    yield "data: [DONE]\n\n"


def chunk(body: Json, delta: Json, *, finish_reason: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return completion("chat.completion.chunk", body, [choice])


def completion(kind: str, body: Json, choices: Sequence[Json]) -> Json:
    return {"id": "chatcmpl-0", "object": kind, "created": 0, "model": body["model"], "choices": choices}


def event(document: Json) -> str:
    return f"data: {json.dumps(document)}\n\n"


app = Starlette(routes=[Route("/v1/chat/completions", chat_completions, methods=["POST"])])
