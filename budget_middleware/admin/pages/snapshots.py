"""One snapshot of all counters for every page of a worker: read when somebody asks, and kept for some seconds.

Reading 100,000 counters takes seconds. However many people look and sort, it is done by one at a time, and the next
reading waits for ten times as long as the last one took.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counter_snapshot import CounterSnapshot, read_snapshot

_KEPT_S: Final = 1.0
_KEPT_PARTS: Final = 10


class Snapshots:
    """Hands out the latest one that is young enough."""

    def __init__(self, context: OperatorContext, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._latest: CounterSnapshot | None = None
        self._is_old_at = 0.0
        self._turn = asyncio.Lock()

    async def latest(self) -> CounterSnapshot:
        """Whoever comes while one is read gets that."""
        if self._latest is not None and self._clock() < self._is_old_at:
            return self._latest
        async with self._turn:
            if self._latest is None or self._clock() >= self._is_old_at:
                started = self._clock()
                self._latest = await read_snapshot(self._context)
                took_s = self._clock() - started
                self._is_old_at = self._clock() + max(_KEPT_S, _KEPT_PARTS * took_s)
            return self._latest

    def forget(self) -> None:
        """After a change of ours, which its own page must show."""
        self._is_old_at = 0.0
