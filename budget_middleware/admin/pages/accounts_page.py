"""The page of all accounts: searched, sorted, a page of it at a time."""

from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

from starlette.responses import Response

from budget_middleware.admin.pages.bars import shown_counter
from budget_middleware.admin.pages.visits import Visit
from budget_middleware.operations.counter_snapshot import CounterOrder, CounterSnapshot
from budget_middleware.operations.rows import LinkedEntryRow

ROWS: Final = 25
_MATCH_CHARS_MAX: Final = 300
_NEAR_PERCENT: Final = 80


def accounts_page(
    visit: Visit, snapshot: CounterSnapshot, entries: Sequence[LinkedEntryRow], *, timezone: ZoneInfo
) -> Response:
    """``entries`` are the last ones of the journal, the newest first."""
    asked = visit.request.query_params
    match = asked.get("match", "").strip()[:_MATCH_CHARS_MAX]
    order = _order(asked.get("order", ""))
    is_reversed = asked.get("reversed") == "1"
    offset = _offset(asked.get("offset", ""))
    page = snapshot.page(match=match, order=order, is_reversed=is_reversed, offset=offset, count=ROWS)
    return visit.page(
        "accounts.html",
        counters=[shown_counter(row, now_ms=snapshot.read_at_ms, timezone=timezone) for row in page.rows],
        entries=entries,
        page=page,
        match=match,
        order=order,
        orders=list(CounterOrder),
        is_reversed=is_reversed,
        offset=offset,
        rows=ROWS,
        near=snapshot.used_at_least(_NEAR_PERCENT),
        spent=snapshot.used_at_least(100),
    )


def _order(text: str) -> CounterOrder:
    try:
        return CounterOrder(text)
    except ValueError:
        return CounterOrder.USED


def _offset(text: str) -> int:
    """The beginning of a page: a multiple of its rows, whatever an address says."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= 9
    return int(text) // ROWS * ROWS if is_number else 0
