"""A clock that advances only while its event loop runs, and the lateness of a loop that does not.

Theory of operation. A time-out on the wall clock cannot tell a silent server from a late worker: a handler that blocks
the event loop for a second makes every reply look a second late, although it has been in the socket's buffer all along.
This clock therefore counts ticks of the loop itself. What a tick was late by is logged as the worker's own lateness,
and hardly counts:

- Who waits for bytes on a socket sees them in the next round of the loop, however late that comes. To them a late tick
  counts as two at most.
- Who waits for a chain of steps (an address, a connection, a handshake, somebody's own code) needs a round of the loop
  for each of them, however quick the other side is. To them a late tick counts as a quarter: a round of 100 ms would
  use up 500 ms in five steps otherwise.

A loop that has just been late may have replies to read: before a wait is given up, the loop polls its sockets a few
times, see `after_polling`. That gives the other side no more time: in a loop without work all polls take 0.1 ms.
"""

import asyncio
import logging
import time
from collections.abc import Callable

TICKS_PER_TIMEOUT = 10
"""How many ticks a time-out has: it may take so much of itself longer."""

POLLS = 8
"""How many rounds of the loop bring a reply from the socket to the task that waits for it, with some to spare."""

LATE_TICK = 0.25
"""To whom each step counts: so much of a tick is a late one worth at least, for a loop may be late for ever."""

LATE_S = 0.25
"""A tick that comes so late is worth a line in the log."""

LOGGED_EVERY_S = 10.0

_log = logging.getLogger("budget_middleware.loop")


class LoopClock:
    """Ticks every ``tick_s`` seconds from `start` on, until ``on_tick`` returns False: then nobody waits any more.

    ``counts_steps`` is for waits in which many rounds of the loop are needed, not one.
    """

    __slots__ = ("_counts_steps", "_on_tick", "_ticked_s", "is_ticking", "now_s", "tick_s")

    def __init__(self, *, tick_s: float, on_tick: Callable[[], bool], counts_steps: bool = False) -> None:
        self.now_s = 0.0
        self.tick_s = tick_s
        self._counts_steps = counts_steps
        self._on_tick = on_tick
        self.is_ticking = False
        self._ticked_s = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to tick, unless it does."""
        if not self.is_ticking:
            self.is_ticking = True
            self._ticked_s = loop.time()
            loop.call_later(self.tick_s, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        passed_s, self._ticked_s = now_s - self._ticked_s, now_s
        self.now_s += self._counted(passed_s)
        if passed_s > self.tick_s + LATE_S:
            lateness.report(passed_s - self.tick_s)
        if self._on_tick():
            loop.call_later(self.tick_s, self._tick, loop)
        else:
            self.is_ticking = False

    def _counted(self, passed_s: float) -> float:
        """How much of the time that has passed since the last tick counts."""
        if not self._counts_steps:
            return min(passed_s, 2 * self.tick_s)
        if passed_s <= self.tick_s:
            return passed_s
        # The later the less: a round that is late by half a tick is not to count in full.
        return self.tick_s * max(LATE_TICK, self.tick_s / passed_s)


class Lateness:
    """Logs how late this worker's event loop was: at once, then the worst of each ten seconds."""

    def __init__(self) -> None:
        self._worst_s = 0.0
        self._logged_s = float("-inf")

    def report(self, late_s: float) -> None:
        """Log that the loop was blocked for so many seconds; at most once in LOGGED_EVERY_S."""
        self._worst_s = max(self._worst_s, late_s)
        now_s = time.monotonic()
        if now_s - self._logged_s < LOGGED_EVERY_S:
            return
        _log.warning(
            "the event loop of this worker was blocked for %.2f s, by a handler or by more work than its CPU can do;"
            " requests waited meanwhile, the budget store is not at fault",
            self._worst_s,
        )
        self._worst_s, self._logged_s = 0.0, now_s


lateness = Lateness()


def after_polling(loop: asyncio.AbstractEventLoop, callback: Callable[[], object], *, polls: int = POLLS) -> None:
    """Call back once the loop has polled its sockets so often and run what that made ready."""
    if polls:
        loop.call_soon(lambda: after_polling(loop, callback, polls=polls - 1))
    else:
        callback()
