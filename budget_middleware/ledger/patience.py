"""Time-outs for many waits that may all take equally long: one timer of the event loop serves them all."""

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Any, TypeVar

from budget_middleware.event_loops import PerEventLoop

_T = TypeVar("_T")


class Patience:
    """Bounds what is awaited to ``timeout_s``, as `asyncio.timeout` does at several times the price."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._waits = PerEventLoop(_Waits)

    async def bound(self, work: Awaitable[_T]) -> _T:
        """The result of ``work``; TimeoutError where it takes longer, and then it has been cancelled."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None, "what is bounded is awaited in a task"
        wait = _Wait(task, loop.time() + self.timeout_s)
        self._waits.here().add(wait, loop)
        was_cancelled, cancellations_before = False, task.cancelling()
        try:
            return await work
        except asyncio.CancelledError:
            was_cancelled = True
            raise
        finally:
            wait.task = None
            # Our own cancellation is taken back; somebody else's stays one.
            if wait.is_overdue and task.uncancel() <= cancellations_before and was_cancelled:
                raise TimeoutError(f"it took longer than {self.timeout_s:g} s")


class _Wait:
    """One await; ``task`` is None once it is over."""

    __slots__ = ("is_overdue", "task", "until_s")

    def __init__(self, task: "asyncio.Task[Any]", until_s: float) -> None:
        self.task: asyncio.Task[Any] | None = task
        self.until_s = until_s
        self.is_overdue = False


class _Waits:
    """The waits of one event loop, which end in the order in which they began."""

    def __init__(self) -> None:
        self._queue: deque[_Wait] = deque()
        self._is_watched = False

    def add(self, wait: _Wait, loop: asyncio.AbstractEventLoop) -> None:
        queue = self._queue
        while queue and queue[0].task is None:
            queue.popleft()
        queue.append(wait)
        if not self._is_watched:
            self._watch(loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_watched = True
        loop.call_at(self._queue[0].until_s, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_watched = False
        now_s = loop.time()
        while self._queue and (self._queue[0].task is None or self._queue[0].until_s <= now_s):
            wait = self._queue.popleft()
            if wait.task is not None:
                wait.is_overdue = True
                wait.task.cancel()
        if self._queue:
            self._watch(loop)
