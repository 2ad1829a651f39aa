"""The story of a counter: its entries summed up by status, and what none of them explains."""

import pytest

from budget_middleware.core.answers import Entry
from budget_middleware.core.journal.story import BookingsRead, Change, CounterStory, Share, changes_of
from budget_middleware.core.journal.story import counter_story as story_of
from budget_middleware.core.model import Balance, Counter
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.windows import Period

DAY = Counter("key:a", Period.DAY, "2026-11-24")
MONTH = Counter("key:a", Period.MONTH, "2026-11")


def counter_story(spent: int, entries: list[Entry], *, is_whole: bool = False) -> CounterStory:
    return story_of(spent, entries, is_whole=is_whole)


def entry(seq: int, status: Status, delta: tuple[int, int], after: tuple[int, int], *, id_: str = "r") -> Entry:
    return Entry(seq, seq, Op.RESERVE, id_, DAY, *delta, *after, limit=None, status=status)


# 6 held, of which 1 is booked; 5 held and expired with a charge of 2, booked late as 4; a credit of 3.
JOURNAL = [
    entry(1, Status.RESERVED, (0, 6), (0, 6)),
    entry(2, Status.FINALIZED, (1, -6), (1, 0)),
    entry(3, Status.RESERVED, (0, 5), (1, 5), id_="s"),
    entry(4, Status.EXPIRED, (2, -5), (3, 0), id_="s"),
    entry(5, Status.FINALIZED_LATE, (2, 0), (5, 0), id_="s"),
    entry(6, Status.ADJUSTED, (-3, 0), (2, 0), id_="t"),
]


def test_a_whole_story():
    story = counter_story(2, JOURNAL)
    assert (story.before, story.since, story.unexplained) == (Balance(), JOURNAL[0], 0)
    assert story.shares == {
        Status.RESERVED: Share(2, 0, 11),
        Status.FINALIZED: Share(1, 1, -6),
        Status.EXPIRED: Share(1, 2, -5),
        Status.FINALIZED_LATE: Share(1, 2, 0),
        Status.ADJUSTED: Share(1, -3, 0),
    }


def test_what_was_trimmed_is_before():
    story = counter_story(2, JOURNAL[3:])
    assert (story.before, story.unexplained) == (Balance(1, 5), 0)
    gone = counter_story(9, [])
    assert (gone.before, gone.since, gone.unexplained) == (Balance(9), None, 0)


def test_nothing_is_before_the_first_entry_of_a_whole_journal():
    assert counter_story(2, JOURNAL, is_whole=True).unexplained == 0
    assert counter_story(2, JOURNAL[3:], is_whole=True).unexplained == 1
    repair = JOURNAL[5]._replace(status=Status.REPAIRED)
    assert counter_story(2, [repair], is_whole=True).unexplained == 0, "it has taken back what it found"


@pytest.mark.parametrize("figure", [0, 1, 3, 5, 2])
def test_what_was_written_after_the_figure_is_left_out(figure: int):
    story = counter_story(figure, JOURNAL)
    assert story.before.spent + sum(share.spent for share in story.shares.values()) == figure
    assert story.unexplained == 0


def test_a_figure_that_no_entry_leads_to_is_unexplained():
    assert counter_story(9, JOURNAL).unexplained == 7
    assert counter_story(9, [], is_whole=True).unexplained == 9
    gap = [*JOURNAL[:2], JOURNAL[5]._replace(spent=7)]
    assert counter_story(7, gap).unexplained == 9, "1 was booked, 3 credited"


def test_a_repair_explains_itself():
    """It is the one entry that need not begin where the one before it ended."""
    repair = entry(7, Status.REPAIRED, (-4, 0), (2, 0), id_="audit")
    assert counter_story(6, JOURNAL).unexplained == 4
    story = counter_story(2, [*JOURNAL, repair])
    assert (story.unexplained, story.shares[Status.REPAIRED]) == (0, Share(1, -4, 0))


def test_entries_of_one_verb_are_one_change():
    both = [JOURNAL[1], JOURNAL[1]._replace(seq=3, counter=MONTH), JOURNAL[5]]
    assert changes_of(both) == [Change(JOURNAL[1], (DAY, MONTH)), Change(JOURNAL[5], (DAY,))]
    assert [change.moved for change in changes_of(JOURNAL[:1])] == [6]


def test_bookings_that_were_trimmed_behind_an_older_pair_are_a_gap():
    """A pair that came to nothing is kept elsewhere, and may be older than all that the journal still has."""
    read = BookingsRead()
    read.add(entry(1, Status.RESERVED, (0, 6), (0, 6)))
    assert read.has_all
    read.add(entry(90, Status.FINALIZED, (1, 0), (8, 0))._replace(op=Op.FINALIZE, bookings=31))
    assert (read.has_all, read.unbroken_from_seq) == (False, 90)


def test_bookings_in_a_row_have_no_gap():
    read = BookingsRead()
    read.add(entry(1, Status.RESERVED, (0, 6), (0, 6)))
    read.add(entry(2, Status.FINALIZED, (1, -6), (1, 0))._replace(op=Op.FINALIZE, bookings=1))
    read.add(entry(7, Status.RESERVED, (0, 5), (1, 5))._replace(bookings=1))
    assert (read.has_all, read.unbroken_from_seq) == (True, 0)
