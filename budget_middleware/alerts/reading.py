"""Reads one journal from where followers have read to, page by page, and says where it could not be seen whole."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.history.position import FellBack, Mark, Position, next_batch
from budget_middleware.stores.base import Store

PAGE = 200
"""A few hundred entries: to read more at once would hold up requests in the same event loop."""


class ReadTo(NamedTuple):
    """How far the journal of a store was read."""

    generation: str
    position: Position

    def packed(self) -> dict[str, Any]:
        return {"generation": self.generation, "position": [*self.position[:3], *self.position.mark]}


class Page(NamedTuple):
    """The next entries. ``gap`` says what is missing before them, "" for nothing; the version is that of the head."""

    entries: Sequence[Entry]
    gap: str
    read_to: ReadTo
    is_behind: bool
    limits_version: int


def unpack_read_to(fields: Mapping[str, Any]) -> ReadTo | None:
    """None for what is none, or cannot be read."""
    try:
        seq, bookings, time_ms, mark_seq, mark_ms, mark_id = fields["position"]
        return ReadTo(fields["generation"], Position(seq, bookings, time_ms, Mark(mark_seq, mark_ms, mark_id)))
    except (KeyError, TypeError, ValueError):
        return None


async def next_page(journal: Store, read_to: ReadTo | None) -> Page:
    """What comes after; where nothing was read yet, or it cannot be found again, it is the end of the journal."""
    head = await journal.head()
    if read_to is None:
        return await _at_the_end(journal, "")
    if read_to.generation != head.generation:
        return await _at_the_end(journal, "another store answers than before: it was emptied, or replaced")
    position = read_to.position
    entries = await journal.journal(after_seq=position.seq, count=PAGE)
    mark = position.mark
    at_mark = await journal.journal(after_seq=mark.seq - 1, count=1) if mark.seq else []
    if (await journal.head()).generation != head.generation:
        return Page((), "", read_to, is_behind=True, limits_version=head.limits_version)
    try:
        batch = next_batch(position, entries, head_seq=head.seq, at_mark=at_mark)
    except FellBack:
        return await _at_the_end(journal, "the store fell back to an earlier state")
    missing = batch.missing
    gap = f"{missing.bookings} bookings were dropped before they were read" if missing else ""
    seen = [entry for step in batch.steps for entry in step]
    is_behind = bool(seen) and head.seq > batch.position.seq
    return Page(seen, gap, ReadTo(head.generation, batch.position), is_behind, head.limits_version)


async def _at_the_end(journal: Store, gap: str) -> Page:
    head = await journal.head()
    position = Position().after(await journal.latest(count=1))
    return Page((), gap, ReadTo(head.generation, position), is_behind=False, limits_version=head.limits_version)
