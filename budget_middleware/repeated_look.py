"""Looks again and again in a task of its own, at the pace that each look asks for."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress


class RepeatedLook:
    """``look`` says how many seconds to wait before the next one, and raises nothing."""

    def __init__(self, look: Callable[[], Awaitable[float]]) -> None:
        self._look = look
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._repeat())

    async def stop(self) -> None:
        """Cut off a look that is under way."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _repeat(self) -> None:
        while True:  # noqa: ASYNC110 - another process's entries set no event of ours
            await asyncio.sleep(await self._look())
