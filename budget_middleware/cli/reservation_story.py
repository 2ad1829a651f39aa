"""The life of one reservation: asked, refused, held, expired, ended, in sentences and as its journal entries."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from budget_middleware.cli.desk import Desk
from budget_middleware.cli.evidence import counted, dollars, entries_of, refusal_row, trace_of, why_refused
from budget_middleware.cli.output import Row, Table, iso, link, say, say_json, usd
from budget_middleware.cli.reading import entry_row
from budget_middleware.cli.reservation_bill import find_bill, reservation_bill_document, say_reservation_bill
from budget_middleware.core.model import Entry, Reservation, Status
from budget_middleware.core.refusals import LoggedRefusal

_COLUMNS = ("seq", "time", "status", "account", "window", "spent_delta_usd", "reserved_delta_usd", "reason")

_ENDED = frozenset(
    {
        Status.FINALIZED,
        Status.FINALIZED_LATE,
        Status.FINALIZED_UNRESERVED,
        Status.RELEASED,
        Status.RELEASED_LATE,
    }
)


@dataclass(frozen=True, slots=True)
class _Life:
    """All that is known of an id. ``hold`` is there while it is pending and its lease lasts."""

    id: str
    now_ms: int
    entries: Sequence[Entry]
    hold: Reservation | None
    refusals: Sequence[LoggedRefusal]

    @property
    def statuses(self) -> set[Status]:
        return {entry.status for entry in self.entries}

    @property
    def booked_nanos(self) -> int:
        """What it added to *spent* of one of its counters, as to each."""
        first = self.entries[0].counter
        return sum(entry.spent_delta for entry in self.entries if entry.counter == first)


async def tell_reservation(desk: Desk, id_: str, *, template: str | None, as_json: bool) -> bool:
    """Whether anything is known of it."""
    life = await _read(desk, id_)
    if not (life.entries or life.hold or life.refusals):
        return False
    bill = await find_bill(desk.store, id_, life.entries)
    if as_json:
        say_json({**_document(life, template), "bill": reservation_bill_document(bill)})
        return True
    for line in _sentences(life):
        say(line)
    if bill is not None:
        say("")
        say_reservation_bill(bill, id_)
    if life.entries:
        say("")
        rows = [entry_row(entry) for entry in life.entries]
        Table().say(
            [
                {**{name: row[name] for name in _COLUMNS}, **trace_of(entry.trace, template)}
                for row, entry in zip(rows, life.entries, strict=True)
            ]
        )
    return True


async def _read(desk: Desk, id_: str) -> _Life:
    # The journal before the holds: one that ends in between is told as held, with all that was so then.
    entries = await entries_of(desk.store, lambda entry: entry.reservation_id == id_)
    hold = next((hold for hold in await desk.store.holds() if hold.id == id_), None)
    if hold is None and entries and entries[-1].status is Status.RESERVED:
        entries = await entries_of(desk.store, lambda entry: entry.reservation_id == id_)
    refusals = [refusal for refusal in await desk.store.refusals() if refusal.reservation_id == id_]
    return _Life(id_, (await desk.store.head()).now_ms, entries, hold, refusals)


# Sentences.


def _sentences(life: _Life) -> Iterator[str]:
    yield f"{life.id}: {_outcome(life)}"
    told = [
        *((refusal.time_ms, _refused(refusal)) for refusal in life.refusals),
        *((verb[0].time_ms, _changed(verb)) for verb in _verbs(life.entries)),
    ]
    told.sort(key=lambda each: each[0])
    began_ms = told[0][0] if told else 0
    for time_ms, line in told:
        yield f"  {iso(time_ms)} (+{(time_ms - began_ms) / 1000:.3f} s) {line}"


def _verbs(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries of each verb; a verb wrote all of its own at one instant."""
    for _, verb in groupby(entries, key=lambda entry: (entry.status, entry.time_ms)):
        yield list(verb)


def _outcome(life: _Life) -> str:
    if life.hold:
        left_s = (life.hold.deadline_ms - life.now_ms) / 1000
        return (
            f"it holds {dollars(life.hold.held.usd)} since {(life.now_ms - life.hold.created_ms) / 1000:.1f} s;"
            f" its lease ends in {left_s:.1f} s unless its worker renews it."
        )
    if not life.entries:
        enforced = any(refusal.is_enforced for refusal in life.refusals)
        return "it was refused and changed no counter." if enforced else "it would have been refused."
    if life.statuses & _ENDED:
        return f"it is over and has booked {dollars(life.booked_nanos)}{_lateness(life)}."
    if Status.EXPIRED in life.statuses:
        return f"its lease expired, and no ending has come since; it has booked {dollars(life.booked_nanos)}."
    if Status.RESERVED in life.statuses:
        return "its lease is over; the next look at its counters gives back what it held."
    return f"an operator's change of {dollars(life.booked_nanos)}."


def _lateness(life: _Life) -> str:
    if life.statuses & {Status.FINALIZED_LATE, Status.RELEASED_LATE}:
        return ", late: its lease had expired before it ended"
    if Status.RESERVED not in life.statuses:
        return "; when it was reserved is not in the journal"
    return ""


def _changed(verb: Sequence[Entry]) -> str:
    entry = verb[0]
    on = ", ".join(f"{each.counter.account} {each.counter.period} {each.counter.window}" for each in verb)
    amounts = [
        f"{name} {'+' if nanos > 0 else ''}{dollars(nanos)}"
        for name, nanos in (("spent", entry.spent_delta), ("reserved", entry.reserved_delta))
        if nanos
    ]
    why = f" ({entry.reason})" if entry.reason else ""
    return f"{entry.status}{why}: {', '.join(amounts) or 'no amount'} on {on}"


def _refused(refusal: LoggedRefusal) -> str:
    reason = "held" if refusal.rejection.is_held else "spent"
    others = f"; it stands for {counted(refusal.times, 'refusal')} like it" if refusal.times > 1 else ""
    estimate = dollars(refusal.rejection.estimate)
    return f"refused ({reason}): estimate {estimate}, {why_refused(refusal)}{others}"


# JSON.


def _document(life: _Life, template: str | None) -> Row:
    return {
        "reservation_id": life.id,
        "outcome": _outcome(life),
        "booked_usd": usd(life.booked_nanos) if life.entries else usd(0),
        "held_usd": usd(life.hold.held.usd if life.hold else 0),
        "expires_in_s": (life.hold.deadline_ms - life.now_ms) / 1000 if life.hold else None,
        "refusals": [refusal_row(refusal, template) for refusal in life.refusals],
        "changes": [{**entry_row(entry), **link(entry.trace, template)} for entry in life.entries],
    }
