"""One time-out for many equal waits, counted in the time in which the event loop ran.

Theory of operation. All waits of one `SharedTimeout` may take equally long, so they come due in the order in which they
began: a queue and one ticking clock (`LoopClock`) serve them all. Three things distinguish it from `asyncio.timeout`:

- While the loop stands still, the clock does. Before a wait that is due is given up, the loop reads its sockets, so
  that an answer which has already arrived is never thrown away.
- A wait is given up only while nothing else that waited long succeeds. In a burst, the thousandth call waits for the
  999 before it, and that is no sign of silence. Nor is it one that a later call is answered first: a burst may be
  spread over two connections, which the server reads in turn. A quick success shows that there is no queue, and
  prolongs nothing. Where a wait that began a whole time-out *later* has succeeded, the answer is taken for lost, and
  the wait is given up however many others succeed.
- Who sees the other side's connections knows better than any clock, and may be asked: ``is_silent``. A wait may be due
  long before its request was sent, because the loop was late with the steps before: with the connection, with limits,
  with the requests of others. While the connections are not silent, what is due goes on for another time-out. They end
  a call of their own that gets no answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from budget_middleware.event_loops import PerEventLoop
from budget_middleware.loop_clock import TICKS_PER_TIMEOUT, LoopClock, after_polling

QUEUED = 0.25
"""A success that took so much of the time-out has waited for others."""


class SharedTimeout:
    """`asyncio.timeout` for many equal time-outs of silence, on one timer of the event loop.

    Nothing is given up unless ``is_silent`` says so, too.
    """

    def __init__(self, timeout_s: float, *, is_silent: Callable[[], bool] = lambda: True) -> None:
        self.timeout_s = timeout_s
        self._waits = PerEventLoop(lambda: _Waits(timeout_s, is_silent))

    def timeout(self, on_timeout: Callable[[], object] | None = None) -> "Wait":
        """For a ``with``: what its block awaits is cancelled when time is up, and that raises TimeoutError.

        ``on_timeout`` is called just before, for callers that must not wait until the cancelled work has come back.
        """
        loop = asyncio.get_running_loop()
        return Wait(self._waits.of(loop), loop, on_timeout)


class Wait:
    """A wait of the current task, from when it is entered; ``task`` is None once it is over."""

    __slots__ = ("_cancellations_before", "_is_given_up", "_on_timeout", "_waits", "since_s", "task")

    def __init__(
        self, waits: "_Waits", loop: asyncio.AbstractEventLoop, on_timeout: Callable[[], object] | None
    ) -> None:
        task = asyncio.current_task(loop)
        assert task is not None, "what is bounded is awaited in a task"
        self.task: asyncio.Task[Any] | None = task
        self.since_s = waits.clock.now_s
        self._waits = waits
        self._cancellations_before = task.cancelling()
        self._is_given_up = False
        self._on_timeout = on_timeout

    @property
    def left_s(self) -> float:
        """How much of its time is left for sure: the clock may be a tick behind."""
        return self._waits.left_s(self) - 2 * self._waits.clock.tick_s

    def renew(self) -> None:
        """Begin again: there was an answer, if not the last one."""
        self._waits.record_success(self)
        self._waits.renew(self)

    def give_up(self) -> None:
        """Cancel what is awaited, unless that is over."""
        if self.task is not None:
            self._is_given_up = True
            if self._on_timeout is not None:
                self._on_timeout()
            self.task.cancel()

    def __enter__(self) -> Self:
        waits = self._waits
        queue, clock = waits.queue, waits.clock
        # Nearly always the first is the one that has just ended.
        while queue and queue[0][1].task is None:
            queue.popleft()
        queue.append((self.since_s, self))
        if not clock.is_ticking:
            clock.start(asyncio.get_running_loop())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        # A task holds its loop, and what is kept for a loop must not.
        task, self.task, self._on_timeout = self.task, None, None
        if kind is None:
            waits = self._waits
            # Most waits end within the tick in which they began, as others that began with them have done.
            if waits.clock.now_s != self.since_s or self.since_s > waits.overtakes_s:
                waits.record_success(self)
            return
        # Our own cancellation is taken back; somebody else's stays one.
        is_ours = self._is_given_up and task is not None and task.uncancel() <= self._cancellations_before
        if is_ours and kind is asyncio.CancelledError:
            raise TimeoutError(f"it took longer than {self._waits.timeout_s:g} s") from error


class _Waits:
    """The waits of one event loop, in the order in which they began."""

    def __init__(self, timeout_s: float, is_silent: Callable[[], bool]) -> None:
        self.timeout_s = timeout_s
        self.clock = LoopClock(tick_s=timeout_s / TICKS_PER_TIMEOUT, on_tick=self._look, counts_steps=True)
        self._is_silent = is_silent
        # With when each had begun: one that was renewed since stands further behind, too.
        self.queue: deque[tuple[float, Wait]] = deque()
        # When a wait last succeeded that had waited for others.
        self._progress_s = float("-inf")
        # When a wait was last due and the other side was not silent.
        self._heard_s = float("-inf")
        # When the latest of the waits that succeeded had begun.
        self.overtakes_s = float("-inf")
        self._is_settling = False

    def renew(self, wait: Wait) -> None:
        # Of the same tick it stands in the queue already, and to be given up twice is to be cancelled twice.
        if wait.since_s != self.clock.now_s:
            wait.since_s = self.clock.now_s
            self.queue.append((wait.since_s, wait))

    def record_success(self, wait: Wait) -> None:
        if self.clock.now_s - wait.since_s >= QUEUED * self.timeout_s:
            self._progress_s = self.clock.now_s
        self.overtakes_s = max(self.overtakes_s, wait.since_s)

    def left_s(self, wait: Wait) -> float:
        was_overtaken = self.overtakes_s - wait.since_s >= self.timeout_s
        since_s = wait.since_s if was_overtaken else max(wait.since_s, self._progress_s)
        # The wait may have begun just before a tick.
        return since_s + self.timeout_s + self.clock.tick_s - self.clock.now_s

    def _drop_those_over(self) -> None:
        queue = self.queue
        while queue and (queue[0][1].task is None or queue[0][1].since_s != queue[0][0]):
            queue.popleft()

    def _is_first_due(self) -> bool:
        self._drop_those_over()
        if not self.queue or self.clock.now_s - self._heard_s < self.timeout_s:
            return False
        # The sum of many ticks is a little off.
        return self.left_s(self.queue[0][1]) < self.clock.tick_s / 2

    def _look(self) -> bool:
        """Let the loop read before those that are due are given up; whether anybody waits."""
        if self._is_first_due() and not self._is_settling:
            self._is_settling = True
            after_polling(asyncio.get_running_loop(), self._give_up_due)
        return bool(self.queue)

    def _give_up_due(self) -> None:
        self._is_settling = False
        if self._is_first_due() and not self._is_silent():
            self._heard_s = self.clock.now_s
        while self._is_first_due():
            self.queue.popleft()[1].give_up()
