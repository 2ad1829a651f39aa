"""Phrases that several commands write: counted nouns, why a request was refused, the column that leads to a trace."""

from budget_middleware.cli.output import Row
from budget_middleware.operations.rows import RefusalRow
from budget_middleware.operations.values import OMITTED, Omitted, dollars


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def trace_column(trace_id: str | None, trace_url: str | Omitted | None) -> Row:
    """The link where there is a template for links, else the id."""
    return {"trace_id": trace_id} if trace_url is OMITTED else {"trace_url": trace_url}


def why_refused(row: RefusalRow) -> str:
    """The counter that refused and its figures, in one line."""
    why = (
        f"{row.account} {row.period} {row.window}: limit {dollars(row.limit)},"
        f" spent {dollars(row.spent)}, reserved {dollars(row.reserved)}, short by {dollars(row.shortfall)}"
    )
    why += f", for {row.model}" if row.model else ""
    return why if row.enforced else f"{why}; shadow mode: served all the same"
