"""A report as a table with bars for people, and as CSV for spreadsheets."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from budget_middleware.cli.output import Row, Table, bar, print_line
from budget_middleware.core.costs.usage import UsageClass
from budget_middleware.core.journal.bookings import REQUESTS, BookingKind
from budget_middleware.operations.reports import KindSum, Report, ReportQuery, ReportRow
from budget_middleware.operations.values import OMITTED, figure

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How what a spreadsheet runs begins; some take the wide signs for the others."""
_NOTHING = KindSum(0, figure(0))
_IN_REQUESTS = frozenset(map(str, REQUESTS))


def print_table(report: Report) -> None:
    """Counts that are 0 in all rows have no column. The bar compares what rows have cost."""
    if not report.rows:
        print_line("nothing was booked or refused")
        return
    largest = max(row.cost_nanos for row in report.rows)
    rows = [{**_cells(row, report.total), "": bar(max(0, row.cost_nanos), largest)} for row in report.rows]
    if len(rows) > 1:
        first = next(iter(rows[0]))
        rows.append({**_cells(report.total, report.total), first: "total", "": ""})
    Table().write(rows)


def _cells(row: ReportRow, total: ReportRow) -> Row:
    of_others = {kind: row.bookings.get(kind) for kind in total.bookings if kind not in _IN_REQUESTS}
    return {
        **({} if row.window is OMITTED else {"window": row.window}),
        **row.by,
        "requests": row.requests,
        **({"refusals": row.refusals} if total.refusals else {}),
        **{each: row.counts.get(each, 0) for each in total.counts},
        "cost_usd": row.cost,
        **{f"{kind}_usd": of_kind.cost if of_kind else None for kind, of_kind in of_others.items()},
    }


def write_csv(stream: TextIO, report: Report, query: ReportQuery) -> None:
    """The same columns whatever was found; no total, which a spreadsheet would add to the rows."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_header(query))
    for row in report.rows:
        writer.writerow(list(_fields(row, query)))


def _header(query: ReportQuery) -> Sequence[str]:
    kinds = [name for kind in BookingKind for name in (str(kind), f"{kind}_usd")]
    window = ["window"] if query.per else []
    return [*window, *query.by, "requests", "refusals", *map(str, UsageClass), "cost_usd", *kinds]


def _fields(row: ReportRow, query: ReportQuery) -> Iterator[object]:
    if row.window is not OMITTED:
        yield row.window
    for each in query.by:
        yield inert(row.by[each] or "")
    yield row.requests
    yield row.refusals
    yield from (row.counts.get(each, 0) for each in UsageClass)
    yield row.cost
    bookings: Mapping[str, KindSum] = row.bookings
    for kind in BookingKind:
        of_kind = bookings.get(kind, _NOTHING)
        yield of_kind.count
        yield of_kind.cost


def inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that might be begins with ', which is not part of it.

    Names come from clients. A text that begins with ' gets another, so whoever takes one off has each as it was.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text
