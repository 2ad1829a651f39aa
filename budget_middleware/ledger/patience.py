"""Time-outs for many waits that may all take equally long: one timer of the event loop serves them all."""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from budget_middleware.event_loops import PerEventLoop


class Patience:
    """Bounds what a task awaits to ``timeout_s``, as `asyncio.timeout` does at several times the price."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._waits = PerEventLoop(_Waits)

    def timeout(self, overdue: Callable[[], object] | None = None) -> "_Wait":
        """For a ``with``: what its block awaits is cancelled where it takes longer, and that is a TimeoutError then.

        ``overdue`` is called before, for whoever must not wait until the cancelled work has come back.
        """
        loop = asyncio.get_running_loop()
        wait = _Wait(self.timeout_s, loop, overdue)
        self._waits.here().add(wait, loop)
        return wait


class _Wait:
    """A wait of the current task, from when it is made; ``task`` is None once it is over."""

    __slots__ = ("_cancellations_before", "_is_overdue", "_overdue", "_timeout_s", "task", "until_s")

    def __init__(self, timeout_s: float, loop: asyncio.AbstractEventLoop, overdue: Callable[[], object] | None) -> None:
        task = asyncio.current_task(loop)
        assert task is not None, "what is bounded is awaited in a task"
        self.task: asyncio.Task[Any] | None = task
        self._cancellations_before = task.cancelling()
        self._timeout_s = timeout_s
        self.until_s = loop.time() + timeout_s
        self._is_overdue = False
        self._overdue = overdue

    def give_up(self) -> None:
        """Cancel what is awaited, unless that is over."""
        if self.task is not None:
            self._is_overdue = True
            if self._overdue is not None:
                self._overdue()
            self.task.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        # A task holds its loop, and what is kept for a loop must not.
        task, self.task, self._overdue = self.task, None, None
        # Our own cancellation is taken back; somebody else's stays one.
        is_ours = self._is_overdue and task is not None and task.uncancel() <= self._cancellations_before
        if is_ours and kind is asyncio.CancelledError:
            raise TimeoutError(f"it took longer than {self._timeout_s:g} s") from error


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
            self._queue.popleft().give_up()
        if self._queue:
            self._watch(loop)
