"""The life of one reservation in sentences, its bill, and its journal entries."""

from collections.abc import Iterator, Sequence

from budget_middleware.cli.bill_table import print_reservation_bill
from budget_middleware.cli.output import Table, columns, print_line
from budget_middleware.cli.wording import counted, trace_column, why_refused
from budget_middleware.core.units import Unit
from budget_middleware.operations.reservation_explanation import ReservationExplanation
from budget_middleware.operations.rows import EntryRow, LinkedEntryRow, RefusalRow
from budget_middleware.operations.values import format_amount

_COLUMNS = ("shard", "seq", "time", "status", "account", "window", "spent_delta", "reserved_delta", "reason")


def print_reservation(explanation: ReservationExplanation) -> None:
    for line in _sentences(explanation):
        print_line(line)
    if explanation.is_booked:
        print_line("")
        print_reservation_bill(explanation.bill, explanation.reservation_id)
    if explanation.changes:
        print_line("")
        Table().write(list(map(_table_row, explanation.changes)))


def _table_row(change: LinkedEntryRow) -> dict[str, object]:
    return {**columns(change, _COLUMNS), **trace_column(change.trace_id, change.trace_url)}


def _sentences(explanation: ReservationExplanation) -> Iterator[str]:
    yield f"{explanation.reservation_id}: {explanation.outcome}"
    for event in explanation.events:
        line = _refused(event.event) if isinstance(event.event, RefusalRow) else _changed(event.event)
        yield f"  {event.time} (+{event.after_s:.3f} s) {line}"


def _changed(verb: Sequence[EntryRow]) -> str:
    why = f" ({verb[0].reason})" if verb[0].reason else ""
    of_units = [[each for each in verb if each.unit is unit] for unit in Unit]
    return f"{verb[0].status}{why}: {'; '.join(_changed_alike(entries) for entries in of_units if entries)}"


def _changed_alike(entries: Sequence[EntryRow]) -> str:
    """What a verb did to all its counters of one unit, the same to each."""
    on = ", ".join(f"{each.account} {each.period} {each.window}" for each in entries)
    amounts = [
        f"{name} {'' if amount.startswith('-') else '+'}{format_amount(amount)}"
        for name, amount in (("spent", entries[0].spent_delta), ("reserved", entries[0].reserved_delta))
        if not amount.is_nothing
    ]
    return f"{', '.join(amounts) or 'no amount'} on {on}"


def _refused(row: RefusalRow) -> str:
    others = f"; it stands for {counted(row.times, 'refusal')} like it" if row.times > 1 else ""
    return f"refused ({row.reason}): estimate {format_amount(row.estimate)}, {why_refused(row)}{others}"
