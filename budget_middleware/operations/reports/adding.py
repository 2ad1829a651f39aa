"""Adds bookings and refusals up to the rows of a report.

A booking counts once in each row that it belongs to, and once in the total. It belongs to several rows where a request
has several accounts of one kind, as it may have tags.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from budget_middleware.core.journal.bookings import BY_HAND, Booking, BookingKind
from budget_middleware.core.payers.accounts import account_of, kind_of, parts_of
from budget_middleware.operations.reports.query import MODEL, PROVIDER
from budget_middleware.operations.reports.rows import ReportRow, Sums
from budget_middleware.operations.values import OMITTED

Values = tuple[str | None, ...]
_NOBODY: tuple[str | None, ...] = (None,)


class Booked(NamedTuple):
    """Bookings that are alike in all that a report can tell apart, added up; ``counts`` by class."""

    kind: BookingKind
    bookings: int
    requests: int
    nanos: int
    counts: Iterable[tuple[str, int]]
    omitted_lines: int

    @classmethod
    def of(cls, booking: Booking) -> "Booked":
        # Of a bill with several models only the first part is a booking of its own.
        is_first = booking.part == 0 or booking.kind is BookingKind.TRANSFERRED
        return cls(
            booking.kind,
            int(is_first),
            booking.requests,
            booking.nanos,
            booking.counts.items(),
            booking.omitted_lines,
        )


class Adder:
    """Takes what was booked and refused in each window, in any order."""

    def __init__(self, by: Sequence[str], *, sharded_by: str = "") -> None:
        self._by = tuple(by)
        self._sharded_by = sharded_by
        self._sums: dict[str, dict[Values, Sums]] = {}
        self._total = Sums()
        self._kinds: set[str] = set()
        self.omitted_lines = 0

    def places(
        self, accounts: tuple[str, ...], *, model: str, provider: str, kind: BookingKind | None
    ) -> Sequence[Values]:
        """The rows of a window that something belongs to; ``kind`` is None for a refusal."""
        own = {MODEL: model, PROVIDER: provider}
        values: list[Values] = []
        for each in self._by:
            found = (own[each] or None,) if each in own else accounts_of_kind(each, accounts, is_exact=kind in BY_HAND)
            if found is not _NOBODY:
                self._kinds.add(each)
            values.append(found)
        return list(product(*values))

    def add(self, window: str, places: Sequence[Values], booked: Booked) -> None:
        """``window`` is the id of one, ``""`` where all time is one."""
        for sums in self._sums_of(window, places):
            sums.add(booked.kind, booked.bookings, booked.requests, booked.nanos, booked.counts)
        self.omitted_lines += booked.omitted_lines

    def is_other_part(self, accounts: tuple[str, ...], kind: BookingKind, *, has_bill: bool) -> bool:
        """Whether it is one more part of a booking, on another shard than that of its subject.

        The part with the bill counts. Of what has no bill, such as an expiry, it is the one of the subject's account.
        """
        return (
            kind not in BY_HAND
            and not has_bill
            and accounts_of_kind(self._sharded_by, accounts, is_exact=False) == _NOBODY
        )

    def add_other_part(self, window: str, places: Sequence[Values], booked: Booked) -> None:
        """Only in the rows of its own accounts: everywhere else the first part counts."""
        if not {MODEL, PROVIDER}.isdisjoint(self._by):
            return
        for sums in self._sums_of(window, [values for values in places if None not in values], in_total=False):
            sums.add(booked.kind, booked.bookings, booked.requests, booked.nanos, booked.counts)

    def add_refusals(self, window: str, places: Sequence[Values], times: int) -> None:
        for sums in self._sums_of(window, places):
            sums.refusals += times

    def _sums_of(self, window: str, places: Sequence[Values], *, in_total: bool = True) -> Iterable[Sums]:
        """Those of the rows, and the total's."""
        if in_total:
            yield self._total
        of_window = self._sums.get(window)
        if of_window is None:
            of_window = self._sums[window] = {}
        for values in places:
            sums = of_window.get(values)
            if sums is None:
                sums = of_window[values] = Sums()
            yield sums

    def rows(self, order: Sequence[str] | None) -> tuple[ReportRow, ...]:
        """By window, in an order of their ids (None: there is one window), the dearest first."""
        place = {window: at for at, window in enumerate(order or ())}
        rows = [
            (place.get(window, 0), sums.row(window if order is not None else OMITTED, self._named(values)))
            for window, of_window in self._sums.items()
            for values, sums in of_window.items()
        ]
        rows.sort(key=lambda each: (each[0], -each[1].cost_nanos, -each[1].requests, str(list(each[1].by.values()))))
        return tuple(row for _, row in rows)

    def _named(self, values: Values) -> Mapping[str, str | None]:
        return dict(zip(self._by, values, strict=True))

    @property
    def total(self) -> ReportRow:
        return self._total.row()

    @property
    def unknown(self) -> tuple[str, ...]:
        """The kinds of accounts of which there is none."""
        return tuple(each for each in self._by if each not in self._kinds and each not in (MODEL, PROVIDER))


@lru_cache(16_384)
def accounts_of_kind(kind: str, accounts: tuple[str, ...], *, is_exact: bool) -> Values:
    """The accounts of a kind, else those that are a part of a compound; (None,) where there is none.

    Exact: what was booked by hand on a compound is booked on none of its parts.
    """
    own = tuple(account for account in accounts if kind_of(account) == kind)
    if own or is_exact:
        return own or _NOBODY
    kinds = kind.split("+")
    parts: dict[str, None] = {}
    for account in accounts:
        by_kind = dict(parts_of(account))
        if all(each in by_kind for each in kinds):
            parts[account_of(kind, "+".join(by_kind[each] for each in kinds))] = None
    return tuple(parts) or _NOBODY
