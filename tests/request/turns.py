"""How often others have their turn while something is awaited, and how long they wait for it."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

_T = TypeVar("_T")


async def turns_during(work: Awaitable[object]) -> int:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.create_task(take_turns())
    try:
        await work
    finally:
        others.cancel()
    return turns


async def longest_step_s(work: Awaitable[_T]) -> tuple[_T, float]:
    """The result of some work, and the most CPU time that the event loop spent between two turns of somebody else."""
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        before_s = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now_s = time.thread_time()
            longest_s = max(longest_s, now_s - before_s)
            before_s = now_s

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        result = await work
        # The step that ended it counts, too.
        await asyncio.sleep(0)
        return result, longest_s
    finally:
        watcher.cancel()
