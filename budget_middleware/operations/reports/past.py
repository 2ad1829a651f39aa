"""Adds what a history has to a report. It blocks: it is called in a thread."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from budget_middleware.core.journal.bookings import BookingKind
from budget_middleware.history.report_reading import BookedSum, MissingSpan, ReportHistory
from budget_middleware.operations.reports.adding import Adder, Booked, Values
from budget_middleware.operations.reports.missing import Missing
from budget_middleware.operations.reports.query import Span
from budget_middleware.operations.reports.windows import Windows
from budget_middleware.operations.values import iso

OnProgress = Callable[[int, int], object]
"""Called with how many bookings of how many are added up."""

_WHY = {
    "begun_late": "the history began later than the store",
    "trimmed": "the store dropped them before they were copied: its BUDGET_JOURNAL_MAX was too small",
    "store_gone": "the store was lost before its last entries were copied",
    "store_fell_back": "the store lost them, and counts without them since; the report has them",
    "forgotten": "they are older than BUDGET_HISTORY_DAYS",
}


def add_history(history: ReportHistory, adder: Adder, windows: Windows, span: Span, on_progress: OnProgress) -> None:
    """Add all bookings and refusals of a span, window by window."""
    (total, classes), done = history.overview(span.since_ms, span.until_ms), 0
    places = _Places(history, adder)
    next_ms: int | None = span.since_ms
    while next_ms is not None and (next_ms := history.next_ms(next_ms)) is not None and next_ms < span.until_ms:
        window, starts_ms, ends_ms = windows.around(next_ms)
        since_ms, until_ms = max(starts_ms, span.since_ms), min(ends_ms, span.until_ms)
        sums = list(history.booked(since_ms, until_ms, classes))
        places.learn(sums)
        for each in sums:
            kind, counts = BookingKind(each.kind), tuple(zip(classes, each.counts, strict=True))
            booked = Booked(kind, each.bookings, each.requests, each.nanos, counts, each.omitted_lines)
            if history.is_sharded and adder.is_other_part(places.accounts(each), kind, has_bill=each.has_bill):
                adder.add_other_part(window, places.of(each), booked)
            else:
                adder.add(window, places.of(each), booked)
            done += each.bookings
        for refused in history.refused(since_ms, until_ms):
            of_it = adder.places(refused.accounts, model=refused.model, provider="", kind=None)
            adder.add_refusals(window, of_it, refused.times)
        next_ms = until_ms
        on_progress(min(done, total), total)


class _Places:
    """Remembers the rows of what is alike, which comes again in most windows."""

    def __init__(self, history: ReportHistory, adder: Adder) -> None:
        self._history = history
        self._adder = adder
        self._payers: dict[int, tuple[str, ...]] = {}
        self._places: dict[tuple[int, str, str, str], Sequence[Values]] = {}

    def learn(self, sums: Iterable[BookedSum]) -> None:
        """Look up the accounts of all sums at once."""
        if unknown := {each.payers for each in sums} - self._payers.keys():
            self._payers |= self._history.payers(list(unknown))

    def accounts(self, booked: BookedSum) -> tuple[str, ...]:
        return self._payers[booked.payers]

    def of(self, booked: BookedSum) -> Sequence[Values]:
        key = booked[:4]
        places = self._places.get(key)
        if places is None:
            payers, model, provider, kind = key
            accounts = self._payers[payers]
            places = self._adder.places(accounts, model=model, provider=provider, kind=BookingKind(kind))
            self._places[key] = places
        return places


def missing_in(history: ReportHistory, span: Span) -> Iterator[Missing]:
    """What the history lacks of a span of time."""
    for each in history.missing():
        if _concerns(each, span):
            yield Missing(
                None if each.since_ms is None else iso(each.since_ms),
                None if each.until_ms is None else iso(each.until_ms),
                "bookings",
                each.bookings,
                _WHY.get(each.why, each.why),
            )


def _concerns(missing: MissingSpan, span: Span) -> bool:
    since_ms, until_ms = missing.since_ms, missing.until_ms
    return (until_ms is None or until_ms >= span.since_ms) and (since_ms is None or since_ms < span.until_ms)
