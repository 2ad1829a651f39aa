"""The journal: one entry for each change, chained, paged and bounded."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.store import SqlStore
from budget_middleware.testing import MovableClock
from tests.stores.verbs import KEY, START_MS, adjust, finalize, release, reserve, seqs, target, whole_journal

TEAM = target("team:b")


async def test_an_entry_says_what_changed_when_and_why(store: Store, clock: MovableClock):
    await store.finalize(finalize("r0", "0.30"))
    clock.advance(ms=5)
    verb = replace(reserve("r1", "0.60"), trace="00-1-1-01")
    answer = await store.reserve(verb)
    (entry,) = answer.entries
    assert (entry.seq, entry.time_ms, entry.op) == (2, START_MS + 5, Op.RESERVE)
    assert (entry.reservation_id, entry.counter, entry.status) == ("r1", KEY.counter, Status.RESERVED)
    assert (entry.spent_delta, entry.reserved_delta) == (0, 600_000_000)
    assert (entry.spent_before, entry.spent) == (300_000_000, 300_000_000)
    assert (entry.reserved_before, entry.reserved) == (0, 600_000_000)
    assert (entry.limit, entry.trace, entry.reserve_trace) == (1_000_000_000, "00-1-1-01", "")
    assert answer.seq == 2
    assert (await whole_journal(store))[-1] == entry


@pytest.mark.proves("I9")
async def test_what_changes_nothing_writes_nothing(store: Store):
    await store.reserve(reserve("free", "0"))
    await store.finalize(finalize("free", "0"))
    await store.finalize(finalize("unknown", "0"))
    await store.release(release("tombstone"))
    await store.reserve(reserve("refused", "1.01"))
    assert await whole_journal(store) == []
    assert (await store.head()).seq == 0
    assert await store.counters() == []


@pytest.mark.proves("I9")
async def test_answers_and_journal_tell_the_same_entries(store: Store, clock: MovableClock):
    targets = (KEY, target(period=Period.DAY), TEAM)
    answers = [
        await store.reserve(reserve("r1", "0.60", *targets, charge="0.05")),
        await store.adjust(adjust("a1", "-0.10", *targets)),
        await store.reserve(reserve("r2", "0.10", TEAM, lease_s=1)),
    ]
    clock.advance(s=1)
    answers.append(await store.finalize(finalize("r1", "0.20")))
    told = [entry for answer in answers for entry in answer.entries]
    assert await whole_journal(store) == told
    assert [entry.op for entry in told[-4:]] == [Op.EXPIRE, Op.FINALIZE, Op.FINALIZE, Op.FINALIZE]
    assert seqs(told) == list(range(1, answers[-1].seq + 1))


async def test_pages_meet_without_gap_wherever_one_begins(store: Store):
    """Verbs of three counters write three entries each, and a page may begin between them."""
    for at in range(5):
        await store.adjust(adjust(f"a{at}", "0.10", KEY, target(period=Period.DAY), TEAM))
    for count in (1, 2, 4, 100):
        assert seqs(await whole_journal(store, page=count)) == list(range(1, 16))
        for after_seq in range(15):
            page = seqs(await store.journal(after_seq=after_seq, count=count))
            assert page == list(range(after_seq + 1, after_seq + 1 + len(page)))
            assert 1 <= len(page) <= max(count, 3 * count)
    assert await store.journal(after_seq=15, count=10) == []
    assert await store.journal(after_seq=99, count=10) == []


async def test_latest_tells_the_last_of_all_or_of_one_account(store: Store):
    for at in range(5):
        await store.adjust(adjust(f"a{at}", "0.10", KEY, TEAM))
    assert seqs(await store.latest(count=3)) == [8, 9, 10]
    assert seqs(await store.latest(count=2, account="key:a")) == [7, 9]
    assert seqs(await store.latest(count=99, account="team:b")) == [2, 4, 6, 8, 10]
    assert await store.latest(count=5, account="key:z") == []


async def test_latest_finds_an_account_behind_many_others(open_store: Callable[..., Store]):
    store = open_store()
    await store.adjust(adjust("a", "0.10", TEAM))
    for at in range(600):
        await store.adjust(adjust(f"a{at}", "0.10"))
    assert seqs(await store.latest(count=5, account="team:b")) == [1]


async def test_the_journal_is_bounded(open_store: Callable[..., Store]):
    """Exactly over tables; Redis drops several records at a time."""
    store = open_store(Retention(journal_max=50))
    for at in range(400):
        await store.adjust(adjust(f"a{at}", "0.01"))
    kept = seqs(await store.latest(count=1000))
    assert kept == list(range(kept[0], 401))
    if isinstance(store, MemoryStore | SqlStore):
        assert len(kept) == 50
    assert 50 <= len(kept) <= 50 + 3
    assert seqs(await store.journal(after_seq=0, count=1000)) == kept
    assert seqs(await store.journal(after_seq=390, count=1000)) == list(range(391, 401))
    (proof,) = await store.proofs()
    assert proof.balance.spent == 4_000_000_000
