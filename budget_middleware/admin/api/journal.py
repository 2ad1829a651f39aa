"""`journal`, `holds`, `refusals` and `operator-changes`: what was booked, is pending, was refused and was set."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from budget_middleware.admin.context import Context
from budget_middleware.admin.parameters import Account, Count, Cursor, Strict
from budget_middleware.admin.problems import Problem
from budget_middleware.admin.rows import documented, page, page_by_key, page_schema, unpack_cursor
from budget_middleware.operations.holds import HoldRow, list_holds
from budget_middleware.operations.journal import entries_after, latest_entries
from budget_middleware.operations.operator_changes import OperatorChange, list_operator_changes
from budget_middleware.operations.refusals import list_refusals
from budget_middleware.operations.rows import LinkedEntryRow, RefusalRow

router = APIRouter(tags=["journal"])


class PageQuery(Strict):
    """Where a page begins."""

    limit: Count = 100
    cursor: Cursor | None = None


class OfAccount(PageQuery):
    """Of one account, or of all."""

    account: Account | None = None


class JournalQuery(OfAccount):
    """Where to begin without a cursor."""

    begin: Annotated[
        Literal["latest", "oldest"], Field(description="without a cursor: the last entries, or the first ones")
    ] = "latest"


@router.get(
    "/journal",
    summary="Changes of counters, the oldest first; the cursor goes on to those that come later",
    responses=documented(page_schema(LinkedEntryRow), "Entries; a page may be empty where its cursor goes on."),
    response_class=Response,
)
async def journal(context: Context, query: Annotated[JournalQuery, Query()]) -> Response:
    template = context.settings.trace_url
    if query.cursor is None and query.begin == "latest":
        read = await latest_entries(context, query.account, count=query.limit, trace_url=template)
    else:
        positions = _positions(query.cursor)
        read = await entries_after(context, query.account, positions=positions, count=query.limit, trace_url=template)
    return page(read.entries, [dict(read.positions)])


def _positions(cursor: str | None) -> dict[str, int]:
    if cursor is None:
        return {}
    positions: dict[str, Any] = unpack_cursor(cursor, dict)[0]
    if not all(type(seq) is int and 0 <= seq < 2**53 for seq in positions.values()):
        raise Problem(422, "cursor: accepted is the next_cursor of an earlier page")
    return positions


@router.get(
    "/holds",
    summary="Pending reservations, the oldest first",
    responses=documented(page_schema(HoldRow), "Holds."),
    response_class=Response,
)
async def holds(context: Context, query: Annotated[OfAccount, Query()]) -> Response:
    rows = await list_holds(context)
    shown = [row for row in rows if query.account is None or query.account in row.accounts]
    # By what is older than the last one of the page before: it may have ended meanwhile.
    after = unpack_cursor(query.cursor, str) if query.cursor else [""]
    start = next((n + 1 for n, row in enumerate(shown) if row.id == after[0]), None) if after[0] else 0
    if start is None:
        raise Problem(409, "the hold at which that page ended has ended: begin again without a cursor")
    items = shown[start : start + query.limit]
    return page(items, [items[-1].id] if start + len(items) < len(shown) else None)


@router.get(
    "/refusals",
    summary="Refused requests that are kept, the oldest first, with the figures of the counter that refused",
    responses=documented(page_schema(RefusalRow), "Refusals."),
    response_class=Response,
)
async def refusals(context: Context, query: Annotated[OfAccount, Query()]) -> Response:
    rows = await list_refusals(context, query.account, trace_url=context.settings.trace_url)
    rows.sort(key=_when)
    return page_by_key(rows, key=_when, cursor=query.cursor, limit=query.limit)


def _when(row: RefusalRow) -> tuple[str, str]:
    return row.time, row.reservation_id


@router.get(
    "/operator-changes",
    summary="Which limits operators have set, who did, and why, the oldest first",
    responses=documented(page_schema(OperatorChange), "Changes of limits."),
    response_class=Response,
)
async def operator_changes(context: Context, query: Annotated[PageQuery, Query()]) -> Response:
    rows = await list_operator_changes(context)
    start = min(unpack_cursor(query.cursor, int)[0], len(rows)) if query.cursor else 0
    items = rows[max(0, start) : max(0, start) + query.limit]
    return page(items, [start + len(items)] if start + len(items) < len(rows) else None)
