"""What an answer tells of the journal: the verb's own entries if it wants them, those of expired leases always."""

from dataclasses import replace

import pytest

from budget_middleware.core.statuses import Op
from budget_middleware.core.verbs import Finalize, Grow, Release, Reserve
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.stores.verbs import finalize, grow, release, reserve, send, target

HELD = target("key:a", "1.00")
TEAM = target("team:b", "1.00")


@pytest.mark.parametrize("wants_entries", [True, False])
@pytest.mark.parametrize(
    "verb",
    [reserve("r2", "0.10", HELD, TEAM), finalize("r1", "0.10", HELD, TEAM), release("r1"), grow("r1", "0.30")],
    ids=lambda v: type(v).__name__,
)
async def test_its_own_entries(store: Store, verb: Reserve | Finalize | Release | Grow, wants_entries: bool):
    await store.reserve(reserve("r1", "0.20", HELD, TEAM))
    answer = await send(store, replace(verb, wants_entries=wants_entries))
    journal = await store.journal(after_seq=2, count=9)
    assert answer.written == len(journal) == 2
    assert (answer.seq, answer.now_ms) == (journal[-1].seq, journal[-1].time_ms)
    assert list(answer.entries) == (list(journal) if wants_entries else [])


async def test_those_of_leases_that_it_expired_in_passing(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.90", HELD, lease_s=1))
    clock.advance(s=2)
    answer = await send(store, replace(reserve("r2", "0.90", HELD), wants_entries=False))
    assert answer.written == 2
    assert [(entry.op, entry.reservation_id) for entry in answer.entries] == [(Op.EXPIRE, "r1")]


async def test_a_verb_that_changes_nothing_wrote_nothing(store: Store):
    await store.reserve(reserve("r1", "0.20", HELD))
    for verb in (reserve("r1", "0.20", HELD), reserve("r2", "0.90", HELD), release("unknown")):
        answer = await send(store, verb)
        assert (answer.written, answer.entries) == (0, ())


@pytest.mark.parametrize("count", [9, 10, 12, 101])
async def test_a_sweep_counts_all_that_it_expired(store: Store, clock: MovableClock, count: int):
    for number in range(count):
        await store.reserve(reserve(f"r{number}", "0.001", HELD, lease_s=1))
    clock.advance(s=2)
    answer = await store.sweep(at_most=count)
    assert answer.written == len(answer.entries) == count
