"""The life of one reservation in sentences, its bill, and its journal entries."""

from collections.abc import Iterator, Sequence

from budget_middleware.cli.bill_table import say_reservation_bill
from budget_middleware.cli.output import Table, say
from budget_middleware.cli.wording import counted, trace_column, why_refused
from budget_middleware.operations.reservation_explanation import ReservationExplanation
from budget_middleware.operations.rows import EntryRow, LinkedEntryRow, RefusalRow
from budget_middleware.operations.values import as_json, dollars, figure

_COLUMNS = ("seq", "time", "status", "account", "window", "spent_delta_usd", "reserved_delta_usd", "reason")


def say_reservation(explanation: ReservationExplanation) -> None:
    for line in _sentences(explanation):
        say(line)
    if explanation.is_booked:
        say("")
        say_reservation_bill(explanation.bill, explanation.reservation_id)
    if explanation.changes:
        say("")
        Table().say(list(map(_table_row, explanation.changes)))


def _table_row(change: LinkedEntryRow) -> dict[str, object]:
    row = as_json(change)
    return {**{name: row[name] for name in _COLUMNS}, **trace_column(change.trace_id, change.trace_url)}


def _sentences(explanation: ReservationExplanation) -> Iterator[str]:
    yield f"{explanation.reservation_id}: {explanation.outcome}"
    for event in explanation.events:
        line = _refused(event.event) if isinstance(event.event, RefusalRow) else _changed(event.event)
        yield f"  {event.time} (+{event.after_s:.3f} s) {line}"


def _changed(verb: Sequence[EntryRow]) -> str:
    entry = verb[0]
    on = ", ".join(f"{each.account} {each.period} {each.window}" for each in verb)
    amounts = [
        f"{name} {'' if amount.startswith('-') else '+'}{dollars(amount)}"
        for name, amount in (("spent", entry.spent_delta), ("reserved", entry.reserved_delta))
        if amount != figure(0)
    ]
    why = f" ({entry.reason})" if entry.reason else ""
    return f"{entry.status}{why}: {', '.join(amounts) or 'no amount'} on {on}"


def _refused(row: RefusalRow) -> str:
    others = f"; it stands for {counted(row.times, 'refusal')} like it" if row.times > 1 else ""
    return f"refused ({row.reason}): estimate {dollars(row.estimate)}, {why_refused(row)}{others}"
