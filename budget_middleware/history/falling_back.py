"""Finds the last entry that a store which fell back to an earlier state has in common with its history."""

from collections.abc import Awaitable, Callable, Sequence

from budget_middleware.core.answers import Entry
from budget_middleware.history.position import Position
from budget_middleware.stores.base import Store

_PAGE = 1_000

ReadHistory = Callable[[int, int], Awaitable[Sequence[Entry]]]
"""The next entries of the history: after a seq, so many."""


async def last_common_position(store: Store, read_history: ReadHistory, *, until_seq: int) -> Position:
    """Where the stories part. What left the journal early, and what the history has dropped, says nothing."""
    position = Position()
    is_begun = False
    while page := await store.journal(after_seq=position.seq, count=_PAGE):
        page = [entry for entry in page if entry.seq <= until_seq]
        if not page:
            break
        if not is_begun:
            # What was before it, nobody can tell any more.
            position = Position(page[0].seq - 1, page[0].bookings_before)
            is_begun = True
        ours = {entry.seq: entry for entry in await read_history(position.seq, page[-1].seq - position.seq)}
        oldest_seq = min(ours, default=until_seq + 1)
        same = 0
        while same < len(page) and _is_same(page[same], ours.get(page[same].seq), oldest_seq):
            same += 1
        position = position.after(page[:same])
        if same < len(page):
            break
    return position


def _is_same(theirs: Entry, ours: Entry | None, oldest_seq: int) -> bool:
    if ours is None:
        return theirs.seq < oldest_seq
    return (theirs.time_ms, theirs.reservation_id, theirs.counter, theirs.spent, theirs.reserved) == (
        ours.time_ms, ours.reservation_id, ours.counter, ours.spent, ours.reserved,
    )  # fmt: skip
