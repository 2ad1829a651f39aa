"""Bounds the bodies of requests that a worker has in hand: those that clients send and the app has not taken yet.

One timer checks all deadlines periodically: `asyncio.timeout` costs several microseconds a wait, and nearly every body
is there before anybody waits for it.
"""

import asyncio
from typing import Any, Final

# A deadline is noticed so much later at most, as a part of how long a wait may take.
_LATENESS: Final = 0.1


class Deadlines:
    """The waits of one event loop, none of which may take longer than `timeout_s` from its last progress."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        # Remembered, for Python 3.11 asks the system for the process when it is asked for the loop.
        self.loop: asyncio.AbstractEventLoop | None = None
        self.waits: set[Wait] = set()
        self.is_watched = False

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at the waits periodically, as long as there are any."""
        self.is_watched = True
        loop.call_later(self.timeout_s * _LATENESS, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_watched = False
        now_s = loop.time()
        for wait in [wait for wait in self.waits if wait.until_s <= now_s]:
            wait.give_up()
        if self.waits:
            self.watch(loop)


class Wait:
    """What the current task waits for from now on, until `end` is called.

    `until_s` is its deadline by the loop's clock, `since_s` when it began.
    """

    __slots__ = (
        "_cancellations_before",
        "_deadlines",
        "_is_overdue",
        "_loop",
        "_task",
        "since_s",
        "timeout_s",
        "until_s",
    )

    def __init__(self, deadlines: Deadlines) -> None:
        loop = deadlines.loop
        if loop is None:
            loop = deadlines.loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "what is bounded is awaited in a task"
        self._task: asyncio.Task[Any] = task
        self._loop = loop
        self._deadlines = deadlines
        self._cancellations_before = task.cancelling()
        self._is_overdue = False
        self.timeout_s = deadlines.timeout_s
        self.since_s = loop.time()
        self.until_s = self.since_s + self.timeout_s
        deadlines.waits.add(self)
        if not deadlines.is_watched:
            deadlines.watch(loop)

    def progress(self, *, latest_s: float) -> None:
        """There is progress: the wait may go on for as long again, but not beyond `latest_s` from its beginning."""
        self.until_s = min(self._loop.time() + self.timeout_s, self.since_s + latest_s)

    def give_up(self) -> None:
        """Cancel what is awaited."""
        self._is_overdue = True
        self._deadlines.waits.discard(self)
        self._task.cancel()

    def end(self) -> bool:
        """The wait is over; whether it was given up, so that the cancellation was ours: that is taken back."""
        self._deadlines.waits.discard(self)
        is_ours, self._is_overdue = self._is_overdue, False
        return is_ours and self._task.uncancel() <= self._cancellations_before


class TooManyBodiesError(Exception):
    """There is no room for more bytes now."""


class BodiesInHand:
    """Bounds the bodies of one event loop, in sum and in time. Every byte taken is given back: off ``n_bytes``."""

    def __init__(self, max_bytes: int, timeout_s: float) -> None:
        self.max_bytes = max_bytes
        self.deadlines = Deadlines(timeout_s)
        self.n_bytes = self.n_waiting_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Take so many bytes in hand. TooManyBodiesError if there is no room; then nothing is taken."""
        if self.n_bytes + n_bytes > self.max_bytes:
            raise TooManyBodiesError
        self.n_bytes += n_bytes
