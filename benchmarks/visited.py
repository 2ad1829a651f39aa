"""One way of serving requests without HTTP, measured at each line on stdin: `inprocess` and `walk` run it.

PYTHONPATH says whose code is measured: that of this checkout or of another one, with its own apps and settings.
"""

import asyncio
import cProfile
import inspect
import json
import logging
import os
import pstats
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from starlette.types import ASGIApp, Message, Scope

IN_FLIGHT = 32
_WARM_UP = 400
_WALKS = 5
_RESUMABLE = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

Frame = tuple[int, str, str]
"""A call: how deep, in which file, of which function."""


def main() -> None:
    """`python visited.py two|redis|mixed|memory URL REQUESTS`."""
    logging.disable()  # It says that memory:// is one process's own.
    way, url, requests = sys.argv[1], sys.argv[2], int(sys.argv[3])
    os.environ["BENCH_REDIS_URL"] = url
    asyncio.run(_measure(way, requests))


async def _measure(way: str, requests: int) -> None:
    app, ask = _app(way), _Asking()
    await ask.all(app, _WARM_UP)
    profile = cProfile.Profile()
    profile.enable()
    await ask.all(app, requests)
    profile.disable()
    calls = pstats.Stats(profile).total_calls / requests  # type: ignore[attr-defined]  # Its stub forgets it.
    while line := sys.stdin.readline():
        if line.strip() == "walk":
            print(json.dumps([await _walk(app, ask) for _ in range(_WALKS)]), flush=True)
            continue
        before_s = time.process_time()
        await ask.all(app, requests)
        print(json.dumps([calls, 1e6 * (time.process_time() - before_s) / requests]), flush=True)
    if hasattr(app, "ledger"):
        await app.ledger.drain()


async def _walk(app: ASGIApp, ask: "_Asking") -> list[Frame]:
    """Every call of a function of the middleware that one request makes, in their order."""
    import budget_middleware

    package = str(Path(budget_middleware.__file__).parent) + os.sep
    frames: list[Frame] = []
    depth, resumable = 0, []

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal depth
        code = frame.f_code
        if event in ("call", "return") and code.co_filename.startswith(package):
            if event == "call":
                again = " (goes on)" if frame in resumable else ""
                frames.append((depth, code.co_filename.removeprefix(package), code.co_qualname + again))
                if code.co_flags & _RESUMABLE:
                    resumable.append(frame)
            depth += 1 if event == "call" else -1

    sys.setprofile(watch)
    await ask.all(app, 1)
    sys.setprofile(None)
    return frames


def _app(way: str) -> ASGIApp:
    from benchmarks import apps, guarded

    if way == "two":
        return apps.two_evalsha
    namespace = "" if way == "memory" else f"inprocess{os.getpid()}"
    if way == "mixed":
        from benchmarks.kinds import MIXED_LIMITS

        return guarded.guard(apps.bare, accounts=3, namespace=namespace, limits=MIXED_LIMITS)
    return guarded.guard(apps.bare, accounts=3, namespace=namespace)


class _Asking:
    """Sends the benchmark's chat."""

    def __init__(self) -> None:
        from benchmarks.answers import CHAT, PATH

        self._body = CHAT.body.encode()
        headers = [(name.lower().encode(), value.encode()) for name, value in CHAT.headers.items()]
        self._scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": headers,
        }

    async def all(self, app: ASGIApp, requests: int) -> None:
        """So many requests, 32 in flight."""
        rest = iter(range(requests))

        async def one() -> None:
            for _ in rest:
                await self._one(app)

        await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))

    async def _one(self, app: ASGIApp) -> None:
        body: list[Any] = [{"type": "http.request", "body": self._body, "more_body": False}]

        async def receive() -> Message:
            return body.pop() if body else await asyncio.Future()

        async def send(message: Message) -> None:
            if message.get("status", 200) != 200:
                sys.exit(f"a request was answered {message['status']}: the figures would mean nothing")

        await app({**self._scope}, receive, send)


if __name__ == "__main__":
    main()
