"""What one verb has booked, as reports and the history count it: once, whatever number of counters it was booked on.

Theory of operation. The journal has an entry for each counter, so that what one request has cost stands there as often
as it has counters. A report must count it once. The entries that one verb wrote are a *step*, and a step becomes:

- one booking, whose accounts are those of its counters: their counters all gained the same. Of a bill with several
  models it becomes a booking for each, which come to the sum to the nano-dollar; the first of them counts the request.
- of a transfer a booking for each account: one has given what the other has got.

A booking is counted at its own time, moved into the windows that it was booked in. A request that was reserved before
midnight and ended after it is spent in the counter of the old day, and an operator may book on a window that is long
over. So the sums of a report by day are what the counters of these days show.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Entry
from budget_middleware.core.costs.bill import BilledCall, ItemizedBill, unpack
from budget_middleware.core.costs.charges import CORRECTS
from budget_middleware.core.costs.pricing import FEMTOS_PER_NANO
from budget_middleware.core.fast import FastStrEnum
from budget_middleware.core.money import half_even_div
from budget_middleware.core.periods import Period
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import window_named


class BookingKind(FastStrEnum):
    """How an amount came to be booked."""

    FINALIZED = "finalized"
    LATE = "finalized_late"
    """After its lease had expired: it replaces what the expiry has booked."""
    UNRESERVED = "finalized_unreserved"
    """The store had lost its reservation."""
    EXPIRED = "expired"
    """A lease was over; what it books, if anything, is what BUDGET_ON_EXPIRE says."""
    RELEASED_LATE = "released_late"
    """What an expiry has booked is taken back."""
    CORRECTED = "corrected"
    """The usage of a response in the background was known at last."""
    ADJUSTED = "adjusted"
    TRANSFERRED = "transferred"
    REPAIRED = "repaired"
    """A counter was led to what its journal explains. No cost: the bookings of that journal are counted already."""


KIND_OF_STATUS: Mapping[Status, BookingKind] = MappingProxyType(
    {
        Status.FINALIZED: BookingKind.FINALIZED,
        Status.FINALIZED_LATE: BookingKind.LATE,
        Status.FINALIZED_UNRESERVED: BookingKind.UNRESERVED,
        Status.EXPIRED: BookingKind.EXPIRED,
        Status.RELEASED_LATE: BookingKind.RELEASED_LATE,
        Status.ADJUSTED: BookingKind.ADJUSTED,
        Status.TRANSFERRED: BookingKind.TRANSFERRED,
        Status.REPAIRED: BookingKind.REPAIRED,
    }
)
"""The entries of all other statuses book nothing."""

REQUESTS = frozenset({BookingKind.FINALIZED, BookingKind.LATE, BookingKind.UNRESERVED})
"""Each is the ending of one request. One that has expired counts when it ends after all."""

BY_HAND = frozenset({BookingKind.ADJUSTED, BookingKind.TRANSFERRED, BookingKind.REPAIRED})
"""They concern the very accounts that they name, and no request."""


class Booking(NamedTuple):
    """A part of what one verb has booked. ``seq`` is that of the step's first entry, ``part`` counts from 0.

    ``nanos`` is what *spent* gained in USD; of a step on other counters only, what its bill comes to. ``counts`` are
    the tokens and pieces of the bill by class; ``omitted_lines`` of it were left out where it was packed.
    """

    seq: int
    part: int
    time_ms: int
    booked_ms: int
    kind: BookingKind
    reservation_id: str
    accounts: tuple[str, ...]
    model: str
    provider: str
    requests: int
    nanos: int
    counts: Mapping[str, int]
    omitted_lines: int = 0


_NO_COUNTS: Mapping[str, int] = MappingProxyType({})


def steps_of(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries of each verb, which wrote them in a row at one instant."""
    for _, step in groupby(entries, key=lambda entry: (entry.reservation_id, entry.status, entry.time_ms)):
        yield list(step)


def bookings_of(step: Sequence[Entry], *, timezone: ZoneInfo) -> list[Booking]:
    """What one verb has booked, by its entries; nothing, for one that only holds or gives back."""
    first = step[0]
    kind = KIND_OF_STATUS.get(first.status)
    if kind is None:
        return []
    in_usd = [entry for entry in step if entry.counter.unit is Unit.USD]
    if kind is BookingKind.TRANSFERRED or kind is BookingKind.REPAIRED:
        return [_booking([entry], kind, part, timezone) for part, entry in enumerate(in_usd)]
    if kind is BookingKind.ADJUSTED and first.reason.startswith(CORRECTS):
        kind = BookingKind.CORRECTED
    whole = _booking(step, kind, 0, timezone)
    bill = unpack(first.bill) if first.bill else None
    if bill is None:
        return [whole]
    if not in_usd and kind in REQUESTS:
        whole = whole._replace(nanos=bill.nanos)
    return list(_by_model(whole, bill))


def _booking(step: Sequence[Entry], kind: BookingKind, part: int, timezone: ZoneInfo) -> Booking:
    first = step[0]
    return Booking(
        seq=first.seq,
        part=part,
        time_ms=first.time_ms,
        booked_ms=_booked_ms(step, timezone),
        kind=kind,
        reservation_id=first.reservation_id,
        accounts=tuple(sorted({entry.counter.account for entry in step})),
        model="",
        provider="",
        requests=int(kind in REQUESTS),
        nanos=next((entry.spent_delta for entry in step if entry.counter.unit is Unit.USD), 0),
        counts=_NO_COUNTS,
    )


def _booked_ms(step: Sequence[Entry], timezone: ZoneInfo) -> int:
    """The time of a step, moved into all the windows of its counters."""
    time_ms = step[0].time_ms
    for entry in step:
        starts_ms, ends_ms = _span_ms(entry.counter.period, entry.counter.window, timezone)
        time_ms = max(starts_ms, min(time_ms, ends_ms - 1))
    return time_ms


@lru_cache(4_096)
def _span_ms(period: Period, window_id: str, timezone: ZoneInfo) -> tuple[int, int]:
    try:
        window = window_named(period, window_id, timezone=timezone)
    except ValueError:
        return 0, 1 << 62  # A window of another BUDGET_TIMEZONE, from before it was changed.
    return window.starts_ms, window.ends_ms


def _by_model(whole: Booking, bill: ItemizedBill) -> Iterator[Booking]:
    """Its parts: each has what its lines come to, and the first whatever else was booked."""
    calls: dict[tuple[str, str], list[BilledCall]] = {}
    for call in bill.calls:
        calls.setdefault((call.model, call.provider), []).append(call)
    nanos = [half_even_div(sum(map(_femtos, alike)), FEMTOS_PER_NANO) for alike in calls.values()]
    if not calls:
        yield whole._replace(omitted_lines=bill.omitted_lines)
    for part, ((model, provider), alike) in enumerate(calls.items()):
        yield whole._replace(
            part=part,
            model=model,
            provider=provider,
            requests=0 if part else whole.requests,
            nanos=nanos[part] if part else whole.nanos - sum(nanos[1:]),
            counts=_counts(alike),
            omitted_lines=0 if part else bill.omitted_lines,
        )


def _femtos(call: BilledCall) -> int:
    return sum(line.femtos for line in call.lines)


def _counts(calls: Iterable[BilledCall]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for call in calls:
        for line in call.lines:
            counts[line.unit] = counts.get(line.unit, 0) + line.count
    return counts
