"""Verbs that are decided together in a database come to what they come to one after the other in memory."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Carry, Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Expire, Extend, Finalize, Grow, Release, Reserve
from budget_middleware.core.windows import Period, previous_window, window_at
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.batch import Sweep, Verb
from budget_middleware.stores.sql.batch_data import DUE_AT_ONCE
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from budget_middleware.testing import MovableClock
from tests.examples import examples
from tests.stores.verbs import START_MS, UTC, adjust, release, reserve, target, transfer, whole_journal

RETENTION = Retention(
    remember_ms=4_000, remember_expired_ms=6_000, counters_ms=9_000, journal_max=9, refusals_max=9, limit_changes_max=9
)


def _target(account: str, period: Period, unit: Unit, limit: int | None, *, carries: bool = False) -> Target:
    window = window_at(period, time_ms=START_MS, timezone=UTC)
    carry = Carry(50, 3, previous_window(window, timezone=UTC).id) if carries else None
    return Target(account, window, limit, unit, carry)


TARGETS = [
    _target("key:a", Period.DAY, Unit.USD, 5),
    _target("key:a", Period.MINUTE, Unit.TOKENS, 4),
    _target("key:ab", Period.DAY, Unit.USD, 4, carries=True),
    _target("team:b", Period("1h"), Unit.USD, 6),
    _target("team:b", Period("1h"), Unit.REQUESTS, 3),
    _target("global", Period.TOTAL, Unit.INFLIGHT, None),
]

ids = st.sampled_from("abcde")
amounts = st.builds(
    Amounts, usd=st.integers(0, 3), tokens=st.integers(0, 3), requests=st.integers(0, 1), inflight=st.integers(0, 1)
)
targets = st.lists(st.sampled_from(TARGETS), min_size=1, max_size=3, unique=True).map(tuple)
leases_ms = st.sampled_from([1_000, 3_000])
pairs = st.permutations(TARGETS[:2])
verbs: st.SearchStrategy[Verb] = st.one_of(
    st.builds(Reserve, ids, targets, amounts, leases_ms, expiry_charge=amounts, enforce=st.booleans()),
    st.builds(Reserve, ids, targets, amounts, leases_ms),
    st.builds(Finalize, ids, targets, amounts, age_ms=st.sampled_from([0, 5_000])),
    st.builds(Release, ids),
    st.builds(Release, ids, forgets=st.just(True)),
    st.builds(Extend, ids, leases_ms),
    st.builds(Grow, ids, amounts, leases_ms),
    st.builds(Expire, ids),
    st.builds(adjust, ids, st.just("0.000000001"), st.sampled_from(TARGETS)),
    pairs.map(lambda pair: transfer("moved", "0.000000002", pair[0], _target("team:b", Period.DAY, Unit.USD, None))),
    st.builds(Sweep, st.integers(1, 3)),
)
plays = st.lists(
    st.tuples(st.lists(verbs, min_size=1, max_size=6), st.sampled_from([0, 500, 2_000, 7_000])), min_size=1, max_size=8
)


async def decided_alone(store: MemoryStore, verb: Verb) -> Answer | str:
    try:
        match verb:
            case Sweep():
                return await store.sweep(at_most=verb.at_most)
            case _:
                answer: Answer = await getattr(store, type(verb).__name__.lower())(verb)
                return answer
    except StoreRefused as error:
        return str(error)


async def decided_together(store: SqliteStore, verbs: Sequence[Verb]) -> list[Answer | str]:
    """As many as there are in one transaction: they are put into the queue before the thread can take any."""
    with store._file._started().writer._gate:
        waiting = [asyncio.ensure_future(store._driver.run(verb)) for verb in verbs]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    return [each if isinstance(each, Answer) else str(each) for each in answers]


def without_generation(answers: Sequence[Answer | str]) -> list[Answer | str]:
    return [each if isinstance(each, str) else replace(each, generation="") for each in answers]


async def look(store: MemoryStore | SqliteStore) -> list[object]:
    """All that can be seen of it."""
    return [
        await store.counters(),
        await store.proofs(),
        await store.holds(),
        {kind: held for kind, held in (await store.reserved_by_kind()).items() if held},
        await whole_journal(store),
        [await store.reservation(id_) for id_ in "abcde"],
        await store.damage(),
    ]


async def play_both(url: str, play: Sequence[tuple[Sequence[Verb], int]]) -> None:
    clock = MovableClock(START_MS)
    memory = MemoryStore(RETENTION, clock_ms=clock)
    file = SqliteStore(url, timeout_s=10, clock_ms=clock, retention=RETENTION)
    try:
        for together, pause_ms in play:
            expected = [await decided_alone(memory, verb) for verb in together]
            assert without_generation(await decided_together(file, together)) == without_generation(expected)
            clock.advance(ms=pause_ms)
            # Forgetting is what every verb begins with.
            assert without_generation([await file.head()]) == without_generation([await memory.head()])
            assert await look(file) == await look(memory)
    finally:
        await file.aclose()


@pytest.mark.timeout(600)
@pytest.mark.proves("I4", "I6", "I9")
@settings(max_examples=examples(80), deadline=None)
@given(play=plays)
def test_a_batch_comes_to_what_its_verbs_come_to(tmp_path_factory, play):
    folder: Path = tmp_path_factory.getbasetemp()
    asyncio.run(play_both(f"sqlite:///{folder}/{uuid4().hex}.db", play))


async def test_a_verb_that_is_refused_is_undone_alone(tmp_path: Path):
    """The second one meets a counter that is full."""
    clock = MovableClock(START_MS)
    store = SqliteStore(f"sqlite:///{tmp_path}/budget.db", timeout_s=10, clock_ms=clock)
    full = target("team:full")
    for number in range(12):
        await store.adjust(adjust(f"a{number}", "9000000", full))
    answers = await decided_together(
        store, [reserve("r1", "0.10"), reserve("r2", "1.00", full, target("key:b")), reserve("r3", "0.10")]
    )
    assert [getattr(each, "status", "refused") for each in answers] == ["reserved", "refused", "reserved"]
    assert [hold.id for hold in await store.holds()] == ["r1", "r3"]
    assert await store.damage() == []
    for id_ in ("r1", "r3"):
        await store.release(release(id_))
    await store.aclose()


async def test_a_verb_that_cannot_be_written_spoils_no_other(tmp_path: Path):
    store = SqliteStore(f"sqlite:///{tmp_path}/budget.db", timeout_s=10, clock_ms=MovableClock(START_MS))
    half = reserve("r2", "0.10", trace="\ud83d")
    answers = await decided_together(store, [reserve("r1", "0.10"), half, reserve("r3", "0.10")])
    assert [getattr(each, "status", "refused") for each in answers] == ["reserved", "refused", "reserved"]
    assert [hold.id for hold in await store.holds()] == ["r1", "r3"]
    await store.aclose()


async def test_more_leases_are_over_than_a_batch_reads_at_first(tmp_path: Path):
    """The one that is in the way is found all the same, among the last."""
    clock = MovableClock(START_MS)
    store = SqliteStore(f"sqlite:///{tmp_path}/budget.db", timeout_s=10, clock_ms=clock)
    accounts = [target(f"key:{number:03}", "1.00") for number in range(DUE_AT_ONCE + 6)]
    for of in accounts:
        await store.reserve(reserve(of.account, "0.60", of))
        clock.advance(ms=1)
    clock.advance(s=61)
    assert (await store.reserve(reserve("again", "0.60", accounts[-1]))).status is Status.RESERVED
    assert (await store.reserve(reserve("and again", "0.60", accounts[-6]))).status is Status.RESERVED
    assert len(await store.proofs()) == len(accounts)
    assert (await store.sweep(at_most=1_000)).status is Status.EXPIRED
    assert [hold.id for hold in await store.holds()] == ["again", "and again"]
    await store.aclose()
