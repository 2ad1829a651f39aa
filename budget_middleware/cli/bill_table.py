"""Prints a bill as a table: a row for each class of usage, and a sum that is exactly the booked amount."""

from collections.abc import Iterator
from typing import Final

from budget_middleware.cli.output import Row, Table, print_line
from budget_middleware.operations.bills import BillRow
from budget_middleware.operations.reservation_bill import ReservationBill
from budget_middleware.operations.values import as_json, figure, format_amount

_COLUMNS: Final = ("unit", "count", "rate_usd", "per", "usd", "source")


def print_bill(bill: BillRow) -> None:
    """Print the table, and below it the note on how sure the amount is."""
    columns = [*_COLUMNS, "model"] if len(bill.models) > 1 else _COLUMNS
    Table().write([{name: row[name] for name in columns} for row in _rows(bill)])
    if bill.note:
        print_line(bill.note)


def _rows(bill: BillRow) -> Iterator[Row]:
    yield from map(as_json, bill.lines)
    for amount in bill.amounts:
        yield _amount_row(amount.kind, amount.usd)
    if bill.omitted.lines:
        yield _amount_row("smaller lines", bill.omitted.usd, count=bill.omitted.lines)
    if bill.rounding_usd != figure(0):
        yield _amount_row("rounding", bill.rounding_usd)
    yield _amount_row("sum", bill.cost_usd)


def _amount_row(what: str, amount_usd: str, *, count: object = "") -> Row:
    return dict.fromkeys(("rate_usd", "per", "source", "model"), "") | {
        "unit": what,
        "count": count,
        "usd": amount_usd,
    }


def print_reservation_bill(bill: ReservationBill | None, id_: str) -> None:
    """Print the bill of a reservation. If another reservation booked it, the heading names that one."""
    if bill is None:
        print_line("No itemized bill is stored for it, or none that this version can read.")
        return
    models = ", ".join(bill.models)
    print_line(
        f"Bill{f' of {bill.booked_by}, which booked it' if bill.booked_by != id_ else ''}: {models or 'no model'}"
    )
    print_bill(bill)
    if bill.corrected_by is not None:
        first, by = format_amount(bill.first), format_amount(bill.corrected_by)
        print_line(f"Booked at {first} first, and corrected by {by} once its usage was known.")
