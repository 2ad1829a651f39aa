"""The memory store's journal keeps as many entries as it should, in whole steps."""

from zoneinfo import ZoneInfo

from budget_middleware.core.model import Op, Status, Target
from budget_middleware.core.windows import Period, window_at
from budget_middleware.stores.packing import pack_targets
from budget_middleware.stores.steps import Journal

MONTH = window_at(Period.MONTH, time_ms=0, timezone=ZoneInfo("UTC"))
KEY, TEAM = Target("key:a", MONTH), Target("team:b", MONTH, 10)


def journal_of_two_steps(at_most: int) -> Journal:
    journal = Journal(at_most)
    for _ in range(2):
        write(journal, Op.ADJUST, Status.ADJUSTED)
    return journal


def write(journal: Journal, op: Op, status: Status, *, reserved_at: int | None = None) -> int:
    """A step of two counters; its last seq."""
    return journal.write(
        op=op,
        status=status,
        reserved_at=reserved_at,
        time_ms=1_000,
        reservation_id="r",
        trace="t",
        reserve_trace="",
        reason="why",
        targets=pack_targets((KEY, TEAM)),
        figures=(1, 2, 3, 4, 5, 6, 7, 8),
    ).last_seq


def test_an_entry_for_each_counter():
    first, second = list(journal_of_two_steps(10).after(2))
    assert (first.seq, first.counter, first.limit_nanos) == (3, KEY.counter, None)
    assert (second.seq, second.counter, second.limit_nanos) == (4, TEAM.counter, 10)
    assert second[1:4] == (1_000, Op.ADJUST, "r")
    assert (type(second.op), type(second.status)) == (Op, Status)
    assert second[5:9] == (5, 6, 7, 8)
    assert second[10:] == (Status.ADJUSTED, "t", "", "why", 4, "")


def test_both_directions_keep_the_same():
    for at_most in range(1, 6):
        journal = journal_of_two_steps(at_most)
        # Whole steps: a cut one would tell half of what a verb did.
        kept = [3, 4] if at_most <= 2 else [1, 2, 3, 4]
        assert [entry.seq for entry in journal.backwards()] == kept[::-1]
        for after in range(6):
            assert [entry.seq for entry in journal.after(after)] == [seq for seq in kept if seq > after]


def test_an_empty_one():
    assert not [*Journal(3).after(0), *Journal(3).backwards()]
