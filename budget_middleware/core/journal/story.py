"""Explains a counter's figures: sums up its journal entries by what they did. Pure, as ``audit`` is."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Balance, Counter
from budget_middleware.core.statuses import Status


@dataclass(frozen=True, slots=True)
class Share:
    """What all changes of one status did to a counter together."""

    changes: int = 0
    spent: int = 0
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class CounterStory:
    """``before`` is the counter as the oldest entry that is kept, ``since``, found it.

    ``unexplained`` is what *spent* shows and no entry accounts for, unless a repair has taken it back since.
    """

    before: Balance
    since: Entry | None
    shares: Mapping[Status, Share]
    unexplained: int


class BookingsRead:
    """Whether a journal that is read from its oldest entry on has all that was ever booked.

    An old pair that came to nothing may be left before bookings that were trimmed, so their numbers are followed from
    one entry to the next. What stands before a gap, ``unbroken_from_seq``, explains nothing of what is after it.
    """

    def __init__(self, bookings: int = 0, *, unbroken_from_seq: int = 0) -> None:
        """So many bookings were read elsewhere; before ``unbroken_from_seq`` some of them are missing."""
        self.has_all = unbroken_from_seq == 0
        self.unbroken_from_seq = unbroken_from_seq
        self._last = bookings

    def add(self, entry: Entry) -> None:
        """The next entry."""
        if entry.bookings_before != self._last:
            self.has_all, self.unbroken_from_seq = False, entry.seq
        self._last = entry.bookings


def counter_story(spent: int, entries: Sequence[Entry], *, is_whole: bool) -> CounterStory:
    """The story of a counter that showed ``spent`` while its journal was being written.

    ``entries`` are its own, the oldest first, read after the figure: what was written since is left out. Whole: no
    entry of the journal was trimmed, so that nothing can have been booked before the first.
    """
    explained = list(entries)
    while explained and explained[-1].spent != spent:
        explained.pop()
    # No entry leads to that figure: then it is wrong, and all of them are shown.
    explained = explained or list(entries)
    if not explained:
        before = Balance() if is_whole else Balance(spent)
        return CounterStory(before, None, {}, spent - before.spent)
    first = explained[0]
    before = Balance(first.spent_before, first.reserved_before)
    unexplained = spent - explained[-1].spent + _gaps(explained)
    if is_whole and first.status is not Status.REPAIRED:
        unexplained += before.spent
    return CounterStory(before, first, _shares(explained), unexplained)


def joined_stories(stories: Iterable[CounterStory]) -> CounterStory:
    """The stories of several counters as one, such as those of the buckets of a rolling period."""
    parts = list(stories)
    shares: defaultdict[Status, list[Share]] = defaultdict(list)
    for story in parts:
        for status, share in story.shares.items():
            shares[status].append(share)
    return CounterStory(
        Balance(sum(story.before.spent for story in parts), sum(story.before.reserved for story in parts)),
        min((story.since for story in parts if story.since), key=attrgetter("seq"), default=None),
        {
            status: Share(
                sum(share.changes for share in alike),
                sum(share.spent for share in alike),
                sum(share.reserved for share in alike),
            )
            for status, alike in shares.items()
        },
        sum(story.unexplained for story in parts),
    )


def _gaps(entries: Iterable[Entry]) -> int:
    """What *spent* gained between one entry and the next; a repair stands for what it found."""
    return sum(
        entry.spent_before - last.spent for last, entry in pairwise(entries) if entry.status is not Status.REPAIRED
    )


def _shares(entries: Iterable[Entry]) -> Mapping[Status, Share]:
    by_status: defaultdict[Status, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_status[entry.status].append(entry)
    return {
        status: Share(
            len(alike),
            sum(entry.spent_delta for entry in alike),
            sum(entry.reserved_delta for entry in alike),
        )
        for status, alike in by_status.items()
    }


@dataclass(frozen=True, slots=True)
class Change:
    """What one verb did to counters of one account: the same to each of them. ``entry`` is that of the first."""

    entry: Entry
    counters: tuple[Counter, ...]

    @property
    def moved(self) -> int:
        """How much it weighs: what it booked or took back, else what it held or gave back."""
        return abs(self.entry.spent_delta) or abs(self.entry.reserved_delta)


def changes_of(entries: Iterable[Entry]) -> list[Change]:
    """The entries of an account, those of one verb together, in the order of the journal."""
    alike: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        what = (entry.reservation_id, entry.status, entry.spent_delta, entry.reserved_delta)
        alike.setdefault((entry.counter.account, entry.counter.unit, *what), []).append(entry)
    return [Change(group[0], tuple(entry.counter for entry in group)) for group in alike.values()]
