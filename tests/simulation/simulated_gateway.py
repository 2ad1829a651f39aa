"""The gateway behind every worker, and what its answers should be charged.

`Served` is written by the gateway alone: what it handed over, how it ended. `charge_due` is the documented rule
over that, written apart from the product's.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.simulation.plan import MAX_TOKENS, Play, Request

INPUT_NANOS, OUTPUT_NANOS = 3_000, 7_000
"""For one token: 3 and 7 USD a million."""

PROMPT_TOKENS = 40
"""What usage says of every request; what is estimated is less than that."""

CLEANING_UP_S = 0.05
"""How long a gateway that is cancelled takes to close its upstream's connection, so that its end comes later."""

_WORD = "word"  # Four bytes: a token, by usage as by the counting rule.


@dataclass
class Served:
    """What a gateway did of one request. `chunks` were handed over, with output or without."""

    is_called: bool = False
    status: int = 0
    chunks: int = 0
    usage_tokens: int | None = None
    is_complete: bool = False
    has_broken: bool = False
    saw_client_go: bool = False


ESTIMATED_INPUT_NANOS = INPUT_NANOS * 9  # Of `PROMPT` with its keys, by four bytes a token.
ESTIMATE_NANOS = ESTIMATED_INPUT_NANOS + MAX_TOKENS * OUTPUT_NANOS


def charge_due(served: Served, *, on_abort: str) -> int:
    """What the documentation says that this request costs, in nano-dollars, once it is over."""
    if not served.is_called or served.status >= 300:
        return 0
    if served.usage_tokens is not None:
        return PROMPT_TOKENS * INPUT_NANOS + served.usage_tokens * OUTPUT_NANOS
    seen = ESTIMATED_INPUT_NANOS + served.chunks * OUTPUT_NANOS
    if served.is_complete:
        return seen
    has_broken_by_itself = served.chunks > 0 and served.has_broken and not served.saw_client_go
    if on_abort in ("input", "full") and not has_broken_by_itself:
        return ESTIMATED_INPUT_NANOS if on_abort == "input" else ESTIMATE_NANOS
    return seen if served.chunks and on_abort != "release" else 0


class Gateway:
    """An ASGI app that plays each request as planned and writes down what it served."""

    def __init__(self, requests: dict[int, Request], served: dict[int, Served]) -> None:
        self._requests = requests
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        document = json.loads((await receive())["body"])
        request = self._requests[document["metadata"]["number"]]
        served = self._served[request.number]
        served.is_called = True
        listening = asyncio.create_task(_note_departure(receive, served))
        try:
            await _Answering(request, served, send).play(listening)
        except OSError:
            served.saw_client_go = True
            raise
        except asyncio.CancelledError:
            await asyncio.sleep(CLEANING_UP_S)
            raise
        finally:
            listening.cancel()


class _Answering:
    def __init__(self, request: Request, served: Served, send: Send) -> None:
        self._request = request
        self._served = served
        self._send = send

    async def play(self, listening: asyncio.Task[None]) -> None:
        match self._request.play:
            case Play.RAISES:
                self._served.has_broken = True
                raise RuntimeError("the gateway fell over")
            case Play.ERROR:
                await self._start(500)
                await self._body(b"{}", is_last=True)
            case Play.JSON:
                await self._json()
            case _:
                await self._stream(listening)

    async def _json(self) -> None:
        await asyncio.sleep(self._request.pause_ms / 1000)
        await self._start(200)
        words = self._request.words
        self._served.usage_tokens = words
        self._served.chunks, self._served.is_complete = 1, True
        choices = [{"index": 0, "message": {"content": _WORD * words}, "finish_reason": "stop"}]
        await self._body(json.dumps({"choices": choices, "usage": _usage(words)}).encode(), is_last=True)

    async def _stream(self, listening: asyncio.Task[None]) -> None:
        request, served = self._request, self._served
        await self._start(200, content_type=b"text/event-stream")
        for word in range(request.words):
            if listening.done():
                return
            if request.play is Play.BREAKS and word >= request.words // 2:
                served.has_broken = True
                raise RuntimeError("upstream broke")
            served.chunks += 1
            await self._event({"choices": [{"index": 0, "delta": {"content": _WORD}}]})
            await asyncio.sleep(request.pause_ms / 1000)
        if request.play is not Play.BARE_STREAM:
            served.usage_tokens = request.words
            await self._event({"choices": [], "usage": _usage(request.words)})
        served.is_complete = True
        await self._body(b"data: [DONE]\n\n")
        await self._body(b"", is_last=True)
        if request.play is Play.LINGERS:
            await asyncio.sleep(request.pause_ms / 100)

    async def _start(self, status: int, *, content_type: bytes = b"application/json") -> None:
        self._served.status = status
        headers = [(b"content-type", content_type)]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _event(self, data: dict[str, Any]) -> None:
        await self._body(f"data: {json.dumps(data)}\n\n".encode())

    async def _body(self, body: bytes, *, is_last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})


async def _live(receive: Receive, send: Send) -> None:
    for _ in ("startup", "shutdown"):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


async def _note_departure(receive: Receive, served: Served) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    served.saw_client_go = True


def _usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": words}
