"""The column of a table that leads to a trace."""

from budget_middleware.cli.output import Row
from budget_middleware.operations.values import OMITTED, Omitted


def trace_column(trace_id: str | None, trace_url: str | Omitted | None) -> Row:
    """The link where there is a template for links, else the id."""
    return {"trace_id": trace_id} if trace_url is OMITTED else {"trace_url": trace_url}
