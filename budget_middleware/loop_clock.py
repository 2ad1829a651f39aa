"""A clock that advances only while its event loop runs, and the lateness of a loop that does not.

Theory of operation. A time-out on the wall clock cannot tell a silent server from a late worker: a handler that blocks
the event loop for a second makes every reply look a second late, although it has been in the socket's buffer all along.
This clock therefore counts ticks of the loop itself. A tick that comes late advances the clock by at most two ticks,
however long the loop stood still, and what it was late by is logged as the worker's own lateness.

A loop that has just been late may have replies to read: before a wait is given up, the loop polls its sockets a few
times, see `after_polling`.
"""

import asyncio
import logging
import time
from collections.abc import Callable

TICKS_PER_TIMEOUT = 10
"""How many ticks a time-out has: it may take so much of itself longer."""

POLLS = 24
"""How many rounds of the loop bring a reply from the socket to the task that waits for it, with some to spare: at the
start of a burst the connection itself, and the limits, have yet to come. In a loop that has no other work they take no
time."""

LATE_S = 0.25
"""A tick that comes so late is worth a line in the log."""

LOGGED_EVERY_S = 10.0

_log = logging.getLogger("budget_middleware.loop")


class LoopClock:
    """Ticks every ``tick_s`` seconds from `start` on, until ``on_tick`` returns False: then nobody waits any more."""

    __slots__ = ("_is_ticking", "_on_tick", "_ticked_s", "now_s", "tick_s")

    def __init__(self, *, tick_s: float, on_tick: Callable[[], bool]) -> None:
        self.now_s = 0.0
        self.tick_s = tick_s
        self._on_tick = on_tick
        self._is_ticking = False
        self._ticked_s = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to tick, unless it does."""
        if not self._is_ticking:
            self._is_ticking = True
            self._ticked_s = loop.time()
            loop.call_later(self.tick_s, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        passed_s, self._ticked_s = now_s - self._ticked_s, now_s
        self.now_s += min(passed_s, 2 * self.tick_s)
        if passed_s > self.tick_s + LATE_S:
            lateness.report(passed_s - self.tick_s)
        if self._on_tick():
            loop.call_later(self.tick_s, self._tick, loop)
        else:
            self._is_ticking = False


class Lateness:
    """Logs how late this worker's event loop was: at once, then the worst of each ten seconds."""

    def __init__(self) -> None:
        self._worst_s = 0.0
        self._logged_s = float("-inf")

    def report(self, late_s: float) -> None:
        """Take note that the loop stood still for so many seconds."""
        self._worst_s = max(self._worst_s, late_s)
        now_s = time.monotonic()
        if now_s - self._logged_s < LOGGED_EVERY_S:
            return
        _log.warning(
            "the event loop of this worker stood still for %.2f s: a handler blocks it, or it has more work than CPU;"
            " requests wait meanwhile, the budget store is not at fault",
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
