"""How long a store remembers what is over."""

from dataclasses import dataclass

from budget_middleware.core.statuses import Status
from budget_middleware.core.windows import Period

_DAY_MS = 86_400_000


RELEASED_MS = 600_000
"""The least time for which a release that booked nothing is remembered, if BUDGET_REMEMBER_S is not shorter still.

Its id is needed only so that a delayed copy of its reserve holds nothing. Such a copy waits in a socket: Linux gives up
on an abandoned connection after two minutes, and the ledger expects nothing from a call later than ``LATE_S`` (60 s).
Forgotten, a repeated release or an extend changes no counter either, and a caller that released an id never finalizes
it.
"""


FORGOTTEN_EARLY = frozenset({Status.RELEASED, Status.RELEASED_UNKNOWN})
"""The answers of endings that booked nothing: their ids are remembered for ``remember_released_ms``."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a store remembers what is over."""

    remember_ms: int = 3_600_000
    remember_expired_ms: int = _DAY_MS
    counters_ms: int = 35 * _DAY_MS
    journal_max: int = 100_000
    refusals_max: int = 10_000
    limit_changes_max: int = 10_000

    def counter_ms(self, period: Period) -> int:
        """How long a counter is kept after its window's end and its last change.

        A key that never rests has 1,440 counters a day under a limit by the minute: those of short windows are kept as
        long as late endings may still book there, and twice that for whoever asks.
        """
        return self.short_counters_ms if period.is_short else self.counters_ms

    @property
    def short_counters_ms(self) -> int:
        """The same for periods whose windows are short."""
        return min(self.counters_ms, 2 * max(self.remember_ms, self.remember_expired_ms))

    @property
    def remember_released_ms(self) -> int:
        """For a release that booked nothing, and for the tombstone of one that found nothing."""
        return min(self.remember_ms, max(RELEASED_MS, self.remember_ms // 6))

    @property
    def voided_max(self) -> int:
        """How many steps of reservations that came to nothing are kept beside the journal."""
        return max(2, self.journal_max // 20)
