"""What an answer about the past may lack, said with it."""

from dataclasses import dataclass

from budget_middleware.core.answers import Entry
from budget_middleware.operations.reports.query import Span
from budget_middleware.operations.values import iso


@dataclass(frozen=True, slots=True)
class Missing:
    """Of this time bookings or refusals are missing, so many where that is known; None: since ever, until now."""

    since: str | None
    until: str | None
    what: str
    count: int | None
    why: str


class Gaps:
    """Finds the bookings that a journal lacks, by the numbers of those that it has."""

    def __init__(self, span: Span, *, bookings: int = 0, time_ms: int | None = None) -> None:
        """``bookings`` had been booked at ``time_ms`` and are known."""
        self._span = span
        self._bookings = bookings
        self._time_ms = time_ms
        self.missing: list[Missing] = []

    def add(self, entry: Entry) -> None:
        """The next entry of the journal."""
        lacking = entry.bookings_before - self._bookings
        # A booking counts in the windows of its counters, so one that is missing may have been before.
        if lacking > 0 and entry.time_ms >= self._span.since_ms and (self._time_ms or 0) < self._span.until_ms:
            self.missing.append(
                Missing(
                    iso(self._time_ms) if self._time_ms is not None else None,
                    iso(entry.time_ms),
                    "bookings",
                    lacking,
                    "the journal keeps BUDGET_JOURNAL_MAX entries, and no history has the others",
                )
            )
        self._bookings, self._time_ms = entry.bookings, entry.time_ms
