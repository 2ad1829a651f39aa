"""How a page of a journal continues a history: with its next entries, after a gap, or not at all. Pure.

Theory of operation. The history has the journal of a store up to a seq, its *position*, and remembers the last entry
of these that no store drops early, the *mark*. After each page of new entries the mark is read once more, which proves
that the page is of the store that was copied:

    history   … 17 18 [19] 20(released)
    journal           [19]          21 22 23      the mark is there: 21 to 23 are new
    journal                            31 32      it was trimmed past the mark: bookings tell what is missing
    journal           [19']         20'           another entry has that seq: the store lost writes, and reused seqs

Seqs that are missing are no gap by themselves: what a reservation held that came to nothing leaves the journal early.
But bookings are numbered in a row (``Entry.bookings``), so one that is missing shows.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.journal.bookings import steps_of
from budget_middleware.core.statuses import Status

_MAY_LEAVE_EARLY = frozenset({Status.RESERVED, Status.RELEASED})


class Why(StrEnum):
    """Why a history does not have all entries."""

    # The journal had begun before the history did.
    BEGUN_LATE = "begun_late"
    # The store dropped the oldest entries of its journal before they were copied.
    TRIMMED = "trimmed"
    # The store was gone, or began again, before its last entries were copied.
    STORE_GONE = "store_gone"
    # The store fell back to an earlier state: the history has entries that the store has not any more.
    STORE_FELL_BACK = "store_fell_back"


class Mark(NamedTuple):
    """The last entry that was copied of those that leave a journal from its old end only."""

    seq: int = 0
    time_ms: int = 0
    reservation_id: str = ""

    def is_of(self, entry: Entry) -> bool:
        return (self.seq, self.time_ms, self.reservation_id) == (entry.seq, entry.time_ms, entry.reservation_id)


class Position(NamedTuple):
    """How far a generation was copied: the last entry's seq and time, and how many bookings there had been."""

    seq: int = 0
    bookings: int = 0
    time_ms: int = 0
    mark: Mark = Mark()

    def after(self, entries: Sequence[Entry]) -> "Position":
        if not entries:
            return self
        last = entries[-1]
        lasting = next((entry for entry in reversed(entries) if entry.status not in _MAY_LEAVE_EARLY), None)
        mark = Mark(lasting.seq, lasting.time_ms, lasting.reservation_id) if lasting else self.mark
        return Position(last.seq, last.bookings, last.time_ms, mark)


class FellBack(Exception):
    """The store does not have any more what was copied from it."""


class Missing(NamedTuple):
    """So many bookings between two seqs are not there; None where nobody knows."""

    after_seq: int
    before_seq: int | None
    bookings: int | None
    why: Why


class Batch(NamedTuple):
    """The next steps to copy, and what is missing before them."""

    steps: Sequence[Sequence[Entry]]
    missing: Missing | None
    position: Position


def next_batch(position: Position, page: Sequence[Entry], *, head_seq: int, at_mark: Sequence[Entry] = ()) -> Batch:
    """What a page, read after the position's seq, adds to what was copied.

    ``head_seq`` was the last seq of the store before the page was read, and ``at_mark`` is what its journal had from
    the mark's seq on after that. FellBack where any of them is not of the store that was copied.
    """
    _require_same_store(position, page, head_seq=head_seq, at_mark=at_mark)
    if not page:
        return Batch((), None, position)
    steps = list(steps_of(page))
    # A page may end within a step, which the next one has whole.
    if len(steps) > 1 and page[-1].seq < head_seq:
        steps.pop()
    first, missing = page[0], None
    if first.bookings_before > position.bookings:
        why = Why.TRIMMED if position.seq else Why.BEGUN_LATE
        missing = Missing(position.seq, first.seq, first.bookings_before - position.bookings, why)
    return Batch(steps, missing, position.after([entry for step in steps for entry in step]))


def _require_same_store(position: Position, page: Sequence[Entry], *, head_seq: int, at_mark: Sequence[Entry]) -> None:
    if head_seq < position.seq or (page and page[0].bookings_before < position.bookings):
        raise FellBack
    mark = position.mark
    if not mark.seq:
        return
    if not at_mark or (at_mark[0].seq == mark.seq and not mark.is_of(at_mark[0])):
        raise FellBack
    # Trimmed past the mark, or the mark is gone: what follows it has counted all bookings up to it, or it has not.
    if at_mark[0].seq > mark.seq and at_mark[0].bookings_before < position.bookings:
        raise FellBack
