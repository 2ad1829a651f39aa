"""The journal of a store over tables: whole steps, the last of them, in both directions."""

import pytest

from budget_middleware.core.statuses import Op, Status
from budget_middleware.stores.base import Store
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.tables import Step
from tests.stores.conftest import OpenStore
from tests.stores.verbs import KEY, adjust, seqs, target, whole_journal

TEAM = target("team:b")

over_tables = pytest.mark.parametrize("make_store", ["memory", "sqlite", "postgres"], indirect=True)


async def store_of_two_steps(open_store: OpenStore, at_most: int) -> Store:
    store = open_store(Retention(journal_max=at_most))
    for number in range(2):
        await store.adjust(adjust(f"a{number}", "0.01", KEY, TEAM))
    return store


@pytest.mark.parametrize("at_most", range(1, 6))
@over_tables
async def test_both_directions_keep_the_same(open_store: OpenStore, at_most: int):
    store = await store_of_two_steps(open_store, at_most)
    # Whole steps: a cut one would tell half of what a verb did.
    kept = [3, 4] if at_most <= 2 else [1, 2, 3, 4]
    assert seqs(await store.latest(count=10)) == kept
    assert seqs(await whole_journal(store)) == kept
    for after in range(6):
        entries = await store.journal(after_seq=after, count=10)
        assert seqs(entries) == [seq for seq in kept if seq > after]


def test_an_entry_for_each_counter():
    step = Step(
        last_seq=4,
        bookings=4,
        entries=4,
        time_ms=1_000,
        op=Op.ADJUST,
        reservation_id="r",
        status=Status.ADJUSTED,
        targets=(KEY, TEAM),
        figures=(1, 2, 3, 4, 5, 6, 7, 8),
        trace="t",
        reason="why",
        bill="packed",
    )
    first, second = step.journal_entries()
    assert (first.seq, first.counter, first.limit, first.bookings) == (3, KEY.counter, KEY.limit, 3)
    assert (second.seq, second.counter, second.limit, second.bookings) == (4, TEAM.counter, None, 4)
    assert second[1:4] == (1_000, Op.ADJUST, "r")
    assert second[5:9] == (5, 6, 7, 8)
    assert second[10:] == (Status.ADJUSTED, "t", "", "why", 4, "packed", "")
