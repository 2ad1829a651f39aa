"""Time-outs for many waits that may all take equally long: one timer of the event loop serves them all."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
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
        task = asyncio.current_task(loop)
        assert task is not None, "what is bounded is awaited in a task"
        wait = _Wait(task.cancel, loop.time() + self.timeout_s)
        self._waits.here().add(wait, loop)
        was_cancelled, cancellations_before = False, task.cancelling()
        try:
            return await work
        except asyncio.CancelledError:
            was_cancelled = True
            raise
        finally:
            wait.give_up = None
            # Our own cancellation is taken back; somebody else's stays one.
            if wait.is_overdue and task.uncancel() <= cancellations_before and was_cancelled:
                raise TimeoutError(f"it took longer than {self.timeout_s:g} s")

    async def until_done(self, task: "asyncio.Task[Any]") -> None:
        """Wait for somebody else's task, which goes on where it takes longer, and where whoever waits is cancelled."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake(_: object = None) -> None:
            if not woken.done():
                woken.set_result(None)

        wait = _Wait(wake, loop.time() + self.timeout_s)
        self._waits.here().add(wait, loop)
        task.add_done_callback(wake)
        try:
            await woken
        finally:
            wait.give_up = None


class _Wait:
    """One await; ``give_up`` is None once it is over."""

    __slots__ = ("give_up", "is_overdue", "until_s")

    def __init__(self, give_up: Callable[[], object], until_s: float) -> None:
        self.give_up: Callable[[], object] | None = give_up
        self.until_s = until_s
        self.is_overdue = False


class _Waits:
    """The waits of one event loop, which end in the order in which they began."""

    def __init__(self) -> None:
        self._queue: deque[_Wait] = deque()
        self._is_watched = False

    def add(self, wait: _Wait, loop: asyncio.AbstractEventLoop) -> None:
        queue = self._queue
        while queue and queue[0].give_up is None:
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
        while self._queue and (self._queue[0].give_up is None or self._queue[0].until_s <= now_s):
            wait = self._queue.popleft()
            if wait.give_up is not None:
                wait.is_overdue = True
                wait.give_up()
        if self._queue:
            self._watch(loop)
