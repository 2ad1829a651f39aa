"""Jobs that have nothing left to book: who polls one of them costs the store nothing for a while.

Theory of operation. A job is remembered here only where asking the store once more could not book anything:

    it has ended ────> a reservation ends once, so nothing changes any more: a minute
    it is unknown, ──> whoever asked has got its end already, and no later ticket takes that back. It may still come,
    and it is over     as where a stream that created the job is cut off meanwhile: two seconds

A job that still runs and has no ticket is never remembered: another worker may be about to keep it. Nor is one of which
the store has said nothing.
"""

import time
from collections.abc import Callable
from typing import Final

ENDED_S: Final = 60.0
UNKNOWN_S: Final = 2.0
REMEMBERED: Final = 4_096
"""Ids come from clients: of more than so many the oldest are forgotten."""


class ClosedJobs:
    """Names of facts that lead to no open ticket, as long as that is sure."""

    def __init__(self, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._until_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._until_s)

    def has(self, fact: str) -> bool:
        """Whether the store need not be asked for a fact."""
        until_s = self._until_s.get(fact)
        return until_s is not None and self._clock_s() < until_s

    def add_ended(self, fact: str) -> None:
        """Remember a job that is booked or released."""
        self._add(fact, ENDED_S)

    def add_unknown(self, fact: str) -> None:
        """Remember a job without a ticket, whose end has been told."""
        self._add(fact, UNKNOWN_S)

    def forget(self, fact: str) -> None:
        """A ticket is kept: the store is to be asked again."""
        self._until_s.pop(fact, None)

    def _add(self, fact: str, seconds: float) -> None:
        until_s = max(self._clock_s() + seconds, self._until_s.pop(fact, 0.0))
        if len(self._until_s) >= REMEMBERED:
            del self._until_s[next(iter(self._until_s))]
        self._until_s[fact] = until_s
