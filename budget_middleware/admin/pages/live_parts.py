"""Renders the parts of pages that have changed since the last look: counters, holds, refusals, the journal."""

from collections.abc import Iterable, Sequence
from typing import Final

from budget_middleware.admin.pages.bars import shown_counter
from budget_middleware.admin.pages.feed import Message
from budget_middleware.admin.pages.page_contents import CHANGES_MAX, HOLDS_MAX, shown_refusals
from budget_middleware.admin.pages.rendering import render_macro
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counter_snapshot import read_account_rows
from budget_middleware.operations.holds import list_holds
from budget_middleware.operations.journal import latest_entries
from budget_middleware.operations.rows import LinkedEntryRow
from budget_middleware.operations.values import OMITTED

_ENTRIES_MAX: Final = 200
"""So many of the last entries are looked at each time: where gateways write more, pages show the last of them."""
_ACCOUNTS_MAX: Final = 20


class LiveParts:
    """Looks at a store for what pages do not show yet."""

    def __init__(self, context: OperatorContext) -> None:
        self._context = context
        self._seqs: dict[str, int] = {}
        self._holds = ""
        self._refusals = ""

    async def look(self) -> Sequence[Message]:
        """What is new; at first the last of what there is: a page may be a little older than its first look."""
        entries = await self._new_entries()
        return [
            *await self._counters(entries),
            *self._journal(entries),
            *await self._changed_holds(),
            *await self._changed_refusals(),
        ]

    async def _new_entries(self) -> list[LinkedEntryRow]:
        page = await latest_entries(
            self._context, count=_ENTRIES_MAX, trace_url=self._context.settings.trace_url or None
        )
        last = {_journal_of(row): row.seq for row in page.entries}
        # A store that was emptied counts from 1 again.
        is_emptied = any(seq < self._seqs.get(journal, 0) for journal, seq in last.items())
        known = {} if is_emptied else self._seqs
        new = [row for row in page.entries if row.seq > known.get(_journal_of(row), 0)]
        self._seqs = {**known, **last}
        return new

    async def _counters(self, entries: Iterable[LinkedEntryRow]) -> list[Message]:
        accounts = list(dict.fromkeys(row.account for row in reversed(list(entries))))
        timezone = self._context.settings.timezone
        messages = []
        for account in accounts[:_ACCOUNTS_MAX]:
            now_ms, rows = await read_account_rows(self._context, account)
            for row in rows:
                counter = shown_counter(row, now_ms=now_ms, timezone=timezone)
                html = render_macro("parts/counters.html", "counter_row", counter)
                messages.append(Message("counter", counter.key, html))
        return messages

    def _journal(self, entries: Sequence[LinkedEntryRow]) -> list[Message]:
        return [
            Message("entry", f"{_journal_of(row)}|{row.seq}", render_macro("parts/journal.html", "entry_row", row))
            for row in entries[-CHANGES_MAX:]
        ]

    async def _changed_holds(self) -> list[Message]:
        holds = await list_holds(self._context)
        # Their ages change with every look, so they are compared by what they hold.
        known = repr([(hold.id, hold.amount) for hold in holds[:HOLDS_MAX]] + [len(holds)])
        if known == self._holds:
            return []
        self._holds = known
        html = render_macro("parts/holds.html", "holds_table", holds[:HOLDS_MAX], len(holds))
        return [Message("holds", "holds", html)]

    async def _changed_refusals(self) -> list[Message]:
        refusals = await shown_refusals(self._context)
        known = repr([(each.row.time, each.row.reservation_id, each.row.times) for each in refusals])
        if known == self._refusals:
            return []
        self._refusals = known
        html = render_macro("parts/refusals.html", "refusals_list", refusals)
        return [Message("refusals", "refusals", html)]


def _journal_of(row: LinkedEntryRow) -> str:
    return "" if row.shard is OMITTED else row.shard
