"""The rows of a report, and the sums that they are made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from budget_middleware.core.costs.usage import UsageClass
from budget_middleware.core.journal.bookings import BookingKind
from budget_middleware.operations.reports.missing import Missing
from budget_middleware.operations.values import NOT_IN_JSON, OMITTED, Figure, Omitted, figure

CLASSES = tuple(map(str, UsageClass))


@dataclass(frozen=True, slots=True)
class KindSum:
    """All bookings of one kind: how many, and what they come to."""

    count: int
    cost: Figure


@dataclass(frozen=True, slots=True)
class ReportRow:
    """The sums of one window and one value of each dimension.

    ``by`` has an account, a model or a provider for each dimension, None where there is none. ``counts`` are tokens and
    pieces by class, without zeros. ``cost`` is all that was booked; ``bookings`` says as what, and has besides, under
    ``repaired``, what audits have put right, which is no cost. ``cost_nanos`` compares rows.
    """

    window: str | Omitted
    by: Mapping[str, str | None]
    requests: int
    refusals: int
    counts: Mapping[str, int]
    cost: Figure
    bookings: Mapping[str, KindSum]
    cost_nanos: int = field(metadata=NOT_IN_JSON)


@dataclass(frozen=True, slots=True)
class Report:
    """Rows by window, the dearest first. In ``total`` everything counts once, also where several rows have it.

    ``source`` says where the figures are from, and ``missing`` what may be missing from them. ``omitted_lines`` of
    bills were too many to be kept: their money is in the cost, their tokens in no count. ``unknown`` are kinds of
    accounts that nothing was booked on.
    """

    since: str
    until: str | None
    source: str
    rows: tuple[ReportRow, ...] = field(metadata=NOT_IN_JSON)
    total: ReportRow
    missing: tuple[Missing, ...]
    omitted_lines: int
    unknown: tuple[str, ...]


class Sums:
    """What a row adds up."""

    def __init__(self) -> None:
        self.requests = 0
        self.refusals = 0
        self.counts: dict[str, int] = {}
        self._by_kind: dict[BookingKind, list[int]] = {}

    def add(
        self, kind: BookingKind, bookings: int, requests: int, nanos: int, counts: Iterable[tuple[str, int]]
    ) -> None:
        self.requests += requests
        own = self.counts
        for each, count in counts:
            own[each] = own.get(each, 0) + count
        of_kind = self._by_kind.get(kind)
        if of_kind is None:
            of_kind = self._by_kind[kind] = [0, 0]
        of_kind[0] += bookings
        of_kind[1] += nanos

    def row(self, window: str | Omitted = OMITTED, by: Mapping[str, str | None] | None = None) -> ReportRow:
        nanos = sum(nanos for kind, (_, nanos) in self._by_kind.items() if kind is not BookingKind.REPAIRED)
        counted = [each for each in CLASSES if self.counts.get(each)]
        return ReportRow(
            window,
            by or {},
            requests=self.requests,
            refusals=self.refusals,
            counts={each: self.counts[each] for each in [*counted, *sorted(self.counts.keys() - {*CLASSES})]},
            cost=figure(nanos),
            bookings={
                str(kind): KindSum(self._by_kind[kind][0], figure(self._by_kind[kind][1]))
                for kind in BookingKind
                if kind in self._by_kind
            },
            cost_nanos=nanos,
        )
