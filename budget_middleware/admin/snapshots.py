"""One snapshot of all counters for everybody who asks within a second, read once however many ask.

Reading 100,000 counters takes seconds: then it is kept for longer, so that reading them is a small part of the time.
"""

import asyncio
import time
from typing import Final

from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counter_snapshot import CounterSnapshot, read_snapshot

KEPT_S: Final = 1.0
_KEPT_PARTS: Final = 5
"""A snapshot is kept for so many times as long as it took to read, if that is more."""


class SharedSnapshot:
    """Keeps the last snapshot of a context, for one event loop."""

    def __init__(self, context: OperatorContext) -> None:
        self._context = context
        self._reading: asyncio.Task[CounterSnapshot] | None = None
        self._until = 0.0

    async def read(self) -> CounterSnapshot:
        """The last one, if it is young enough, else a new one."""
        task = self._reading
        if task is None or (task.done() and (task.cancelled() or task.exception() or time.monotonic() > self._until)):
            task = self._reading = asyncio.get_running_loop().create_task(self._read())
        # Whoever began it may go away: the others still wait for it.
        return await asyncio.shield(task)

    def forget(self) -> None:
        """After a change: who asks next sees it."""
        self._reading = None

    async def _read(self) -> CounterSnapshot:
        started = time.monotonic()
        snapshot = await read_snapshot(self._context)
        now = time.monotonic()
        self._until = now + max(KEPT_S, _KEPT_PARTS * (now - started))
        return snapshot
