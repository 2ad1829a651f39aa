"""The life of one reservation in sentences, its bill, and its journal entries."""

from budget_middleware.cli.bill_table import print_reservation_bill
from budget_middleware.cli.output import Table, columns, print_line
from budget_middleware.cli.wording import trace_column
from budget_middleware.operations.reservation_explanation import ReservationExplanation
from budget_middleware.operations.reservation_sentences import event_sentence
from budget_middleware.operations.rows import LinkedEntryRow

_COLUMNS = ("shard", "seq", "time", "status", "account", "window", "spent_delta", "reserved_delta", "reason")


def print_reservation(explanation: ReservationExplanation) -> None:
    print_line(f"{explanation.reservation_id}: {explanation.outcome}")
    for event in explanation.events:
        print_line(f"  {event.time} (+{event.after_s:.3f} s) {event_sentence(event)}")
    if explanation.is_booked:
        print_line("")
        print_reservation_bill(explanation.bill, explanation.reservation_id)
    if explanation.changes:
        print_line("")
        Table().write(list(map(_table_row, explanation.changes)))


def _table_row(change: LinkedEntryRow) -> dict[str, object]:
    return {**columns(change, _COLUMNS), **trace_column(change.trace_id, change.trace_url)}
