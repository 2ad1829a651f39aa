"""A sampling profiler for the worker itself: every few milliseconds of its CPU time, the stack of the main thread.

`BENCH_PROFILE=FILE uvicorn benchmarks.sampler:NAME` profiles `benchmarks.guarded:NAME` (or one of `benchmarks.apps`).
When it stops it writes one line a stack: frames from the outermost, parted by semicolons, and how often it was met.
"""

import os
import signal
from collections import Counter
from functools import cache
from pathlib import Path
from types import FrameType

from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks import apps, guarded

EVERY_S = 0.001

_stacks: Counter[tuple[str, ...]] = Counter()


def _sample(_signal: int, frame: FrameType | None) -> None:
    frames: list[str] = []
    while frame is not None:
        module = frame.f_globals.get("__name__", "?")
        frames.append(f"{module}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    _stacks[tuple(reversed(frames))] += 1


def _start() -> None:
    signal.signal(signal.SIGPROF, _sample)
    # System calls go on by themselves.
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)


def _stop() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    lines = [f"{';'.join(stack)} {count}" for stack, count in _stacks.items()]
    Path(os.environ["BENCH_PROFILE"]).write_text("\n".join(lines) + "\n")


# uvicorn asks more than once.
@cache
def __getattr__(name: str) -> ASGIApp:
    if name.startswith("_"):
        raise AttributeError(name)
    app = getattr(apps if hasattr(apps, name) else guarded, name)

    async def sampled(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        _start()
        try:
            await app(scope, receive, send)
        finally:
            _stop()

    return sampled
