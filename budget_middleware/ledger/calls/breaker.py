"""A circuit breaker: during an outage few requests ask the store, since each would wait for its time-out."""

import time
from collections.abc import Callable

OUTAGES = 3
"""So many calls without an answer, one after the other, and the store counts as away."""

PROBE_S = 1.0
"""While it is away, one call in so many seconds finds out whether it is back."""


class Breaker:
    """Whether a call is worth its time-out. Shared by all calls to one store.

    ``is_open``: the store counts as away, so ask `allows` first.
    """

    def __init__(self, *, clock_s: Callable[[], float] | None = None) -> None:
        self._clock_s = clock_s or time.monotonic
        self._outages = 0
        self.is_open = False
        self._answered_s = float("-inf")
        self._failed_s = float("-inf")
        self._probe_at_s = 0.0

    def record_answer(self, at_s: float) -> None:
        self._outages = 0
        self._answered_s = at_s
        self.is_open = False

    def record_outage(self, *, began_s: float) -> None:
        """A call that began then got no answer.

        If others got one since, it was its own bad luck; and calls that fail at the same time show one outage only,
        be it a single connection that broke.
        """
        if began_s <= self._answered_s or began_s < self._failed_s:
            return
        self._failed_s = self._clock_s()
        self._outages += 1
        if self._outages == OUTAGES:
            self.is_open = True
            self._probe_at_s = self._clock_s() + PROBE_S

    def allows(self) -> bool:
        """Whether to call now. While the store is away, a True is the probe, and the next one comes later."""
        if not self.is_open:
            return True
        now_s = self._clock_s()
        if now_s < self._probe_at_s:
            return False
        self._probe_at_s = now_s + PROBE_S
        return True
