"""A guarded gateway that measures how long its own event loop stands still, and tells it at GET /pauses."""

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path

from starlette.types import Receive, Scope, Send

from budget_middleware import BudgetMiddleware

BEAT_S = 0.005

_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
_CHOICE = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}
_ANSWER = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [_CHOICE], "usage": _USAGE}


class Heart:
    """Beats in the worker's event loop; the longest time between two beats is the longest pause of its requests."""

    longest_s = 0.0

    async def beat(self) -> None:
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            now_s = time.monotonic()
            self.longest_s, last_s = max(self.longest_s, now_s - last_s - BEAT_S), now_s

    def told(self) -> dict[str, float]:
        """Since it was last told, in milliseconds, and the resident memory of the process in MiB."""
        longest_s, self.longest_s = self.longest_s, 0.0
        return {"longest_pause_ms": 1000 * longest_s, "resident_mib": _resident_mib()}


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


heart = Heart()


async def _gateway(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    while (await receive()).get("more_body"):
        pass
    body = json.dumps(heart.told() if scope["path"] == "/pauses" else _ANSWER).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    beating = asyncio.create_task(heart.beat())
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


app = BudgetMiddleware(_gateway)
