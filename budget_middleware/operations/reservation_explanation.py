"""Explains one reservation: its refusal or hold, growth, expiry and ending, and the amount that it booked."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from budget_middleware.core.answers import Entry
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Reservation
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import NOTHING, Amounts, Unit, format_amounts
from budget_middleware.ledger.jobs.tickets import JobTicket, tickets_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.reaching_back import entries_of_reservation
from budget_middleware.operations.reservation_bill import ReservationBill, find_bill
from budget_middleware.operations.rows import (
    EntryRow,
    LinkedEntryRow,
    RefusalRow,
    linked_entry_row,
    refusal_row,
)
from budget_middleware.operations.values import NOT_IN_JSON, iso

_ENDED = frozenset(
    {
        Status.FINALIZED,
        Status.FINALIZED_LATE,
        Status.FINALIZED_UNRESERVED,
        Status.RELEASED,
        Status.RELEASED_LATE,
    }
)
_HELD = frozenset({Status.RESERVED, Status.GROWN})


@dataclass(frozen=True, slots=True)
class ReservationEvent:
    """A refusal, or the entries that one verb wrote; ``after_s`` is the time since the first event."""

    time: str
    after_s: float
    event: RefusalRow | tuple[EntryRow, ...]


@dataclass(frozen=True, slots=True)
class ReservationExplanation:
    """``outcome`` is one sentence. ``is_booked``: there may be a bill; ``bill`` is None if none is stored."""

    reservation_id: str
    outcome: str
    booked: Amounts
    held: Amounts
    expires_in_s: float | None
    refusals: tuple[RefusalRow, ...]
    changes: tuple[LinkedEntryRow, ...]
    bill: ReservationBill | None
    is_booked: bool = field(metadata=NOT_IN_JSON)
    events: tuple[ReservationEvent, ...] = field(metadata=NOT_IN_JSON)


@dataclass(frozen=True, slots=True)
class _Life:
    """All that the store has on an id. ``hold``: while it is pending and its lease lasts."""

    id: str
    now_ms: int
    entries: Sequence[Entry]
    hold: Reservation | None
    refusals: Sequence[LoggedRefusal]
    ticket: JobTicket | None

    @property
    def statuses(self) -> set[Status]:
        return {entry.status for entry in self.entries}

    @property
    def booked(self) -> Amounts:
        """What it added to *spent*, by unit: the same on each of its counters of that unit, so one of them is read."""
        first = {entry.counter.unit: entry.counter for entry in reversed(self.entries)}
        return Amounts(
            *(sum(entry.spent_delta for entry in self.entries if entry.counter == first.get(unit)) for unit in Unit)
        )


async def explain_reservation(
    context: OperatorContext, id_: str, *, trace_url: str | None = None
) -> ReservationExplanation | None:
    """None if the store has nothing on the id."""
    life = await _read(context, id_)
    if not (life.entries or life.hold or life.refusals):
        return None
    found = await find_bill(context, id_, life.entries)
    refusals = [(each, refusal_row(each, trace_url)) for each in life.refusals]
    return ReservationExplanation(
        id_,
        _outcome(life),
        booked=life.booked,
        held=life.hold.held if life.hold else NOTHING,
        expires_in_s=(life.hold.deadline_ms - life.now_ms) / 1000 if life.hold else None,
        refusals=tuple(row for _, row in refusals),
        changes=tuple(linked_entry_row(entry, trace_url) for entry in life.entries),
        bill=found.bill,
        is_booked=found.is_booked,
        events=tuple(_events(refusals, life.entries)),
    )


async def _read(context: OperatorContext, id_: str) -> _Life:
    # The journal before the holds: if it ends in between, it is explained as still held, which was true a moment ago.
    entries = await entries_of_reservation(context, id_)
    hold = next((hold for hold in await context.store.holds() if hold.id == id_), None)
    if hold is None and entries and entries[-1].status in _HELD:
        entries = await entries_of_reservation(context, id_)
    refusals = [refusal for refusal in await context.store.refusals() if refusal.reservation_id == id_]
    ticket = (await tickets_of(context.store, [id_])).get(id_)
    return _Life(id_, (await context.store.head()).now_ms, entries, hold, refusals, ticket)


def _events(
    refusals: Iterable[tuple[LoggedRefusal, RefusalRow]], entries: Iterable[Entry]
) -> Iterator[ReservationEvent]:
    """Refusals and verbs, in the order of time."""
    events: list[tuple[int, RefusalRow | tuple[EntryRow, ...]]] = [
        *((refusal.time_ms, row) for refusal, row in refusals),
        *((verb[0].time_ms, tuple(map(EntryRow.of, verb))) for verb in _verbs(entries)),
    ]
    events.sort(key=lambda each: each[0])
    return (ReservationEvent(iso(time_ms), (time_ms - events[0][0]) / 1000, event) for time_ms, event in events)


def _verbs(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries of each verb; a verb wrote all of its own at one instant."""
    for _, verb in groupby(entries, key=lambda entry: (entry.status, entry.time_ms)):
        yield list(verb)


def _outcome(life: _Life) -> str:
    if life.hold:
        left_s = (life.hold.deadline_ms - life.now_ms) / 1000
        grown = f", grown from {format_amounts(life.hold.grown_from)}," if life.hold.grown_from else ""
        since_s = (life.now_ms - life.hold.created_ms) / 1000
        held = f"it holds {format_amounts(life.hold.held)}{grown} since {since_s:.1f} s"
        if life.ticket:
            return (
                f"{held}, for the job {life.ticket.job} ({life.ticket.api}): its cost is booked when an answer shows"
                f" its usage, and without one at its deadline, {iso(life.hold.deadline_ms)}."
            )
        return f"{held}; its lease ends in {left_s:.1f} s unless its worker renews it."
    if not life.entries:
        enforced = any(refusal.is_enforced for refusal in life.refusals)
        return "it was refused and changed no counter." if enforced else "it would have been refused."
    if life.statuses & _ENDED:
        return f"it is over and has booked {format_amounts(life.booked)}{_lateness(life)}."
    if Status.EXPIRED in life.statuses:
        return f"its lease expired, and no ending has come since; it has booked {format_amounts(life.booked)}."
    if Status.RESERVED in life.statuses:
        return "its lease has expired; the next verb on its counters will release what it held."
    if Status.TRANSFERRED in life.statuses:
        parties = dict.fromkeys(entry.counter.account for entry in life.entries)
        return f"an operator's transfer of {format_amounts(life.booked)}: {' to '.join(parties)}."
    return f"an operator's change of {format_amounts(life.booked)}."


def _lateness(life: _Life) -> str:
    if life.statuses & {Status.FINALIZED_LATE, Status.RELEASED_LATE}:
        return ", late: its lease had expired before it ended"
    if Status.RESERVED not in life.statuses:
        return "; when it was reserved is not in the journal"
    return ""
