"""Every store: a figure that somebody changed by hand is led back to what explains it, beside live traffic."""

from collections.abc import AsyncIterator, Callable

import pytest

from budget_middleware.core.answers import Answer
from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Unit
from budget_middleware.core.verbs import Repair
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.sql.postgres_store import PostgresStore
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from budget_middleware.testing import MovableClock
from tests.stores import postgres_rows, sqlite_file
from tests.stores.audit import audit_report
from tests.stores.by_hand import change_by_hand, lose
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import DAY_MS, KEY, START_MS, adjust, figures, finalize, release, reserve, target, whole_journal

TEAM = target("team:b")
USD = 1_000_000_000


@pytest.fixture
async def store(open_store: Callable[..., Store]) -> AsyncIterator[Store]:
    """One store. Its journal does not chain where somebody interfered, so an audit proves it that knows of repairs."""
    store = open_store()
    yield store
    assert (await audit_report(store)).drift == ()


async def repair_all(store: Store) -> list[Answer]:
    """As `budget-middleware audit --repair` does it."""
    await store.damage(mend=True)
    targets = {found.counter: found for found in (KEY, TEAM, target(period=Period.HOUR))}
    return [
        await store.repair(Repair(f"x{at}", targets[lacks.counter], lacks.spent, lacks.found_at_seq, reason="audit"))
        for at, lacks in enumerate((await audit_report(store)).corrections)
    ]


async def some_history(store: Store) -> None:
    """Spent 0.10, of which 0.04 were added by hand; 0.60 are held."""
    await store.reserve(reserve("r1", "0.50"))
    await store.finalize(finalize("r1", "0.06"))
    await store.adjust(adjust("a1", "0.04"))
    await store.reserve(reserve("r2", "0.60", KEY, TEAM))


async def ends_exactly(store: Store) -> None:
    """What is in flight ends as if nothing had happened, and the audit that follows every test finds nothing."""
    assert (await audit_report(store)).drift == ()
    await store.finalize(finalize("r2", "0.30"))
    assert await figures(store) == ("0.40", "0.00")


@pytest.mark.parametrize("nanos", [5 * USD, 1, -1, -50_000_000, -5 * USD])
async def test_spent_by_hand(store: Store, nanos: int):
    await some_history(store)
    await change_by_hand(store, KEY.counter, spent=nanos)
    (answer,) = await repair_all(store)
    (entry,) = answer.entries
    assert (entry.op, entry.status, entry.reason, entry.reservation_id) == (Op.ADJUST, Status.REPAIRED, "audit", "x0")
    assert (entry.spent_delta, entry.reserved_delta) == (-nanos, 0)
    assert answer.balances == (Balance(100_000_000, 600_000_000),)
    (view, _) = await store.counters()
    assert view.adjusted == 40_000_000
    await ends_exactly(store)


@pytest.mark.parametrize("nanos", [5 * USD, 1, -1, -600_000_000, -999_999_999_999_999_999, 999_999_999_399_999_999])
async def test_reserved_by_hand(store: Store, nanos: int):
    await some_history(store)
    await change_by_hand(store, KEY.counter, reserved=nanos)
    (answer,) = await repair_all(store)
    assert [entry.reserved_delta for entry in answer.entries] == [-nanos]
    await ends_exactly(store)


async def test_a_change_by_hand_that_later_entries_went_on_from(store: Store):
    await some_history(store)
    await change_by_hand(store, KEY.counter, spent=5 * USD, reserved=7)
    await store.finalize(finalize("r3", "0.01"))
    await change_by_hand(store, KEY.counter, spent=-2 * USD, reserved=-7)
    await store.adjust(adjust("a2", "-0.01"))
    (answer,) = await repair_all(store)
    assert answer.entries[0].spent_delta == -3 * USD
    await ends_exactly(store)


async def test_reserved_that_only_the_journal_does_not_explain_is_settled_by_an_entry_of_nothing(store: Store):
    await some_history(store)
    await change_by_hand(store, KEY.counter, reserved=7)
    await store.adjust(adjust("a2", "0.01"))
    await store.adjust(adjust("a3", "-0.01"))
    await change_by_hand(store, KEY.counter, reserved=-7)
    (answer,) = await repair_all(store)
    assert [(entry.spent_delta, entry.reserved_delta) for entry in answer.entries] == [(0, 0)]
    await ends_exactly(store)


async def test_a_counter_that_is_gone(store: Store):
    await some_history(store)
    await lose(store, KEY.counter)
    (answer,) = await repair_all(store)
    assert answer.balances == (Balance(100_000_000, 600_000_000),)
    await ends_exactly(store)


async def test_a_counter_that_is_gone_and_went_on(store: Store):
    await some_history(store)
    await lose(store, KEY.counter)
    await store.adjust(adjust("a2", "0.01"))
    await store.adjust(adjust("a3", "-0.01"))
    await repair_all(store)
    await ends_exactly(store)


async def test_more_is_adjusted_than_spent(store: Store):
    """The journal explains what is spent, so it is the part that is wrong."""
    await some_history(store)
    await change_by_hand(store, KEY.counter, adjusted=5 * USD)
    await repair_all(store)
    await ends_exactly(store)


async def test_what_happens_between_audit_and_repair_counts(store: Store, clock: MovableClock):
    await some_history(store)
    await change_by_hand(store, KEY.counter, spent=5 * USD, reserved=USD)
    (lacks,) = (await audit_report(store)).corrections
    await store.reserve(reserve("r3", "0.00", lease_s=30))
    await store.finalize(finalize("r4", "0.07"))
    await store.adjust(adjust("a2", "-0.07"))
    await store.release(release("r3"))
    answer = await store.repair(Repair("x", KEY, lacks.spent, lacks.found_at_seq))
    assert answer.balances == (Balance(100_000_000, 600_000_000),)
    await ends_exactly(store)


async def test_of_two_operators_one_repairs(store: Store):
    await some_history(store)
    await change_by_hand(store, KEY.counter, spent=5 * USD)
    (lacks,) = (await audit_report(store)).corrections
    verbs = [Repair(id_, KEY, lacks.spent, lacks.found_at_seq) for id_ in ("x", "x", "y")]
    answers = [await store.repair(verb) for verb in verbs]
    assert [answer.status for answer in answers] == [Status.REPAIRED, Status.DUPLICATE, Status.DUPLICATE]
    assert [len(answer.entries) for answer in answers] == [1, 0, 0]
    await ends_exactly(store)


async def test_a_counter_may_be_repaired_again(store: Store):
    await some_history(store)
    for nanos in (5, -3):
        await change_by_hand(store, KEY.counter, spent=nanos)
        assert [answer.status for answer in await repair_all(store)] == [Status.REPAIRED]
    await ends_exactly(store)


async def test_a_sound_store_is_left_alone(store: Store):
    await some_history(store)
    before = await whole_journal(store)
    assert await repair_all(store) == []
    assert await whole_journal(store) == before
    assert await store.damage() == []


@pytest.mark.parametrize("make_store", ["memory", "server"], indirect=True)
async def test_a_repaired_counter_is_forgotten_in_its_time(store: Store, clock: MovableClock):
    hour = target(period=Period.HOUR)
    await store.finalize(finalize("r1", "0.10", hour))
    await lose(store, hour.counter)
    await repair_all(store)
    if isinstance(store, ClockedRedisStore):
        left_ms = await store._client().pttl(f"{store._prefix}c:{hour.counter.name}")
        assert 35 * DAY_MS < left_ms <= 35 * DAY_MS + hour.window.ends_ms - START_MS
    else:
        clock.move_to(hour.window.ends_ms + 35 * DAY_MS - 1)
        await store.head()
        assert [view.counter for view in await store.counters()] == [hour.counter]


# The memory store keeps no totals: it adds up what is pending.
@pytest.mark.parametrize("make_store", ["sqlite", "postgres", "server"], indirect=True)
async def test_totals_by_kind_are_made_anew(store: Store):
    await store.reserve(reserve("r0", "0.20", KEY, target(period=Period.DAY)))
    await some_history(store)
    sound = dict(await store.reserved_by_kind())
    assert sound == {(Unit.USD, "key"): 800_000_000, (Unit.USD, "team"): 600_000_000}
    if isinstance(store, SqliteStore):
        sqlite_file.add_to_total(store, "key", 5)
    elif isinstance(store, PostgresStore):
        postgres_rows.add_to_total(store, "key", 5)
    else:
        assert isinstance(store, ClockedRedisStore)
        await store._client().hincrby(f"{store._prefix}totals", "key", 5)
    (found,) = await store.damage()
    assert found == Damage(found.key, Flaw.WRONG_TOTAL)
    assert await store.damage(mend=True) == [found]
    assert await store.reserved_by_kind() == sound
    assert await store.damage() == []
    for id_ in ("r0", "r2"):
        await store.release(release(id_))
    assert set((await store.reserved_by_kind()).values()) == {0}


async def test_a_repaired_counter_leaves_sound_totals_alone(store: Store):
    await some_history(store)
    await change_by_hand(store, KEY.counter, reserved=5)
    await repair_all(store)
    assert await store.reserved_by_kind() == {(Unit.USD, "key"): 600_000_000, (Unit.USD, "team"): 600_000_000}
    await ends_exactly(store)


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
async def test_a_due_hold_counts_as_long_as_it_is_in_the_counter(open_store: Callable[..., Store], clock: MovableClock):
    store = open_store()
    await some_history(store)
    clock.advance(s=60)
    await change_by_hand(store, KEY.counter, reserved=3)
    (answer,) = await repair_all(store)
    assert answer.balances[0].reserved == 600_000_000
    await store.sweep(at_most=10)
    assert await figures(store) == ("0.10", "0.00")
