"""The copier: each entry once, whatever happens to it, to the store and to the database."""

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Any

import pytest

from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.windows import Period
from budget_middleware.history import copying
from budget_middleware.history.connections import HistoryDatabase, SqliteHistory
from budget_middleware.history.copying import LEASE_MS, Copier
from budget_middleware.history.limits import limits_as_of
from budget_middleware.history.position import Why
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.postgres_store import PostgresStore
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from tests.history.histories import LEDGER, booked_in, lose, spent_by_counter, spent_in
from tests.history.traffic import Traffic
from tests.stores.replicas import restore, snapshot_of
from tests.stores.verbs import KEY, UTC, finalize, release, reserve, whole_journal


async def test_each_entry_is_copied_once(open_store, clock, histories):
    store, traffic = await open_store(), Traffic(clock, seed=1)
    copier = histories.copier(store)
    for _ in range(4):
        await traffic.play(store, 60)
        await copier.copy_all()
    entries = histories.entries()
    assert [entry.seq for entry in entries] == list(range(1, entries[-1].seq + 1))
    assert set(await whole_journal(store)) <= set(entries)
    assert spent_by_counter(entries) == await spent_in(store)
    assert histories.reader().gaps(LEDGER) == []


class Killed(BaseException):
    """The process dies at this point."""


class DyingDatabase:
    """A database whose process dies at its n-th statement; what it had begun is rolled back, as by the kernel."""

    def __init__(self, database: HistoryDatabase, *, dies_at: int) -> None:
        self._database = database
        self._left = dies_at

    def __getattr__(self, name: str) -> Any:
        wrapped = getattr(self._database, name)
        if name not in {"execute", "execute_many", "fetch"}:
            return wrapped

        def statement(*arguments: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise Killed
            return wrapped(*arguments)

        return statement


@pytest.mark.parametrize("seed", range(2))
async def test_a_copier_may_die_at_any_point(clock, histories, seed):
    """The next one goes on where the history ends: nothing twice, nothing left out."""
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=seed)
    n_deaths = 0
    for dies_at in range(1, 40):
        await traffic.play(store, 5)
        writer = histories.writer()
        writer = HistoryWriter(DyingDatabase(writer.database, dies_at=dies_at), LEDGER, timezone=UTC)
        try:
            await Copier(store, writer, owner="same", page=7).copy_all()
        except Killed:
            n_deaths += 1
    assert n_deaths > 10
    await histories.copier(store, owner="same").copy_all()
    entries = histories.entries()
    assert set(await whole_journal(store)) <= set(entries)
    assert spent_by_counter(entries) == await spent_in(store) == histories.balances()
    assert histories.booked_nanos() == booked_in(entries)
    assert histories.reader().gaps(LEDGER) == []


async def test_two_copiers_at_once_copy_each_entry_once(open_store, clock, histories):
    """As after a pause in which the lease had run out: both believe that it is theirs."""
    store, traffic = await open_store(), Traffic(clock, seed=2)
    copiers = [histories.copier(store, owner="same", page=20) for _ in range(2)]
    for _ in range(5):
        await traffic.play(store, 80)
        await asyncio.gather(*(copier.copy_all() for copier in copiers))
    for copier in copiers:
        await copier.copy_all()
    entries = histories.entries()
    assert set(await whole_journal(store)) <= set(entries)
    assert spent_by_counter(entries) == await spent_in(store) == histories.balances()
    assert histories.booked_nanos() == booked_in(entries)


async def test_only_who_has_the_lease_copies_until_it_runs_out(clock, histories, monkeypatch):
    monkeypatch.setattr(copying, "RENEW_S", 0.0)
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=3)
    await traffic.play(store, 30)
    first, second = histories.copier(store), histories.copier(store)
    assert await first.copy_all() > 0
    await traffic.play(store, 30)
    assert await second.copy_all() == 0
    later_ms = time.time_ns() // 1_000_000 + LEASE_MS + 1
    monkeypatch.setattr(SqliteHistory, "clock_ms", lambda _: later_ms)
    assert await second.copy_all() > 0
    await traffic.play(store, 30)
    assert await first.copy_all() == 0
    await second.give_up()
    assert await first.copy_all() > 0


async def test_a_journal_that_was_trimmed_leaves_a_gap_and_the_balances_are_those_of_the_store(
    open_store, clock, histories
):
    store, traffic = await open_store(Retention(journal_max=60)), Traffic(clock, seed=4)
    copier = histories.copier(store)
    await traffic.play(store, 30)
    await copier.copy_all()
    before = histories.entries()[-1]
    await traffic.play(store, 400)
    await copier.copy_all()
    (gap,) = histories.reader().gaps(LEDGER)
    copied = [entry for entry in histories.entries() if entry.seq > before.seq]
    assert (gap.after_seq, gap.before_seq, gap.why) == (before.seq, copied[0].seq, Why.TRIMMED)
    assert gap.bookings == copied[0].bookings_before - before.bookings > 0
    assert histories.balances() == await spent_in(store)
    await traffic.play(store, 20)
    await copier.copy_all()
    assert len(histories.reader().gaps(LEDGER)) == 1
    assert histories.balances() == await spent_in(store)


async def test_a_history_that_begins_late_begins_with_what_the_store_shows(open_store, clock, histories):
    store, traffic = await open_store(Retention(journal_max=60)), Traffic(clock, seed=5)
    await traffic.play(store, 300)
    await histories.copier(store).copy_all()
    (gap,) = histories.reader().gaps(LEDGER)
    assert (gap.after_seq, gap.why) == (0, Why.BEGUN_LATE)
    assert histories.balances() == await spent_in(store)


async def test_what_was_released_early_is_no_gap(open_store, clock, histories):
    """Its entries leave the journal before all others."""
    store = await open_store(Retention(journal_max=40))
    copier = histories.copier(store)
    await store.reserve(reserve("first", "0.10"))
    await copier.copy_all()
    for n in range(50):
        await store.reserve(reserve(f"r{n}", "0.10"))
        await store.release(release(f"r{n}"))
    await store.finalize(finalize("first", "0.10"))
    await copier.copy_all()
    entries = histories.entries()
    assert len(entries) < entries[-1].seq
    assert histories.reader().gaps(LEDGER) == []


async def test_a_store_that_begins_again_is_another_generation(open_store, clock, histories):
    """What it had written last, before it was lost, is a gap, of which nobody knows how much it was."""
    store, traffic = await open_store(), Traffic(clock, seed=6)
    copier = histories.copier(store)
    await traffic.play(store, 50)
    await copier.copy_all()
    before, copied = await spent_in(store), histories.entries()
    await lose(store)
    await traffic.play(store, 50)
    await copier.copy_all()
    (gap,) = histories.reader().gaps(LEDGER)
    assert (gap.after_seq, gap.before_seq, gap.bookings, gap.why) == (copied[-1].seq, None, None, Why.STORE_GONE)
    older, newer = histories.reader().extents(LEDGER)
    assert (older.is_current, newer.is_current) == (False, True)
    assert histories.balances(older.generation) == before
    assert histories.balances(newer.generation) == await spent_in(store)


@pytest.mark.parametrize("n_since", [0, 3, 200])
async def test_a_store_that_fell_back_and_went_on_is_seen_and_nothing_is_overwritten(clock, histories, n_since):
    """Its generation is the same, and other entries may have the seqs that the history knows."""
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=7)
    copier = histories.copier(store, page=30)
    await traffic.play(store, 60)
    earlier, common = snapshot_of(store), await whole_journal(store)
    await traffic.play(store, 60)
    await copier.copy_all()
    copied = histories.entries()
    restore(store, earlier)
    await Traffic(clock, seed=8).play(store, n_since)
    await copier.copy_all()
    older, newer = histories.reader().extents(LEDGER)
    assert newer.store_generation == older.generation
    entries = list(histories.reader().entries(LEDGER))
    assert [entry for generation, entry in entries if generation == older.generation] == copied
    story = [entry for generation, entry in entries if generation == newer.generation]
    assert [*common, *story] == await whole_journal(store)
    (gap,) = histories.reader().gaps(LEDGER)
    assert (gap.generation, gap.after_seq, gap.before_seq) == (older.generation, common[-1].seq, copied[-1].seq + 1)
    assert (gap.bookings, gap.why) == (copied[-1].bookings - common[-1].bookings, Why.STORE_FELL_BACK)
    assert histories.balances(newer.generation) == await spent_in(store)


async def test_a_replayed_ending_is_no_second_booking(open_store, clock, histories):
    """Workers send the endings of the last minutes again after a loss."""
    store, traffic = await open_store(), Traffic(clock, seed=9)
    copier = histories.copier(store)
    await traffic.play(store, 60)
    await copier.copy_all()
    booked = histories.booked_nanos()
    await lose(store)
    for ending in traffic.ended:
        await store.finalize(ending)
    await copier.copy_all()
    assert histories.booked_nanos() == booked
    await traffic.play(store, 60)
    await copier.copy_all()
    assert histories.booked_nanos() > booked


async def test_refusals_are_copied_once(open_store, clock, histories):
    store = await open_store()
    copier = histories.copier(store)
    refused = await store.reserve(reserve("r1", "5.00", KEY))
    logged = LoggedRefusal(clock(), "r1", ("key:a", "team:t"), refused.rejection, model="gpt-4o", times=3)
    await store.reserve(reserve("r2", "0.50", KEY))
    await store.log_refusals([logged])
    await copier.copy_all()
    await histories.copier(store, owner=copier.owner).copy_all()
    (read,) = histories.reader().refusals(LEDGER)
    assert read.rejection.target.counter == KEY.counter
    window = logged.rejection.target.window
    assert replace(read, rejection=logged.rejection) == logged
    assert read.rejection.limit == logged.rejection.limit
    assert (read.rejection.balance, window.period) == (logged.rejection.balance, KEY.window.period)


async def test_changes_of_limits_are_copied(open_store, clock, histories):
    store = await open_store()
    copier = histories.copier(store)
    await store.set_limit("team:t", period=Period.MONTH, limit_nanos=5)
    await copier.copy_all()
    await store.set_limit("team:t", period=Period.MONTH, limit_nanos=7)
    await store.set_limit("team:*", period=Period.DAY, limit_nanos=None)
    await copier.copy_all()
    await store.clear_limit("team:t", period=Period.MONTH)
    await copier.copy_all()
    changes = [(each.pattern, each.field, each.value) for each in histories.reader().limit_changes(LEDGER)]
    assert sorted(changes[1:3]) == [("team:*", "day", "-"), ("team:t", "month", "7")]
    assert (changes[0], changes[3]) == (("team:t", "month", "5"), ("team:t", "month", None))
    assert limits_as_of(histories.database(), LEDGER, number=1) == (await store.limits()).limits


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_a_store_in_a_database_is_copied_too(request, clock, histories, tmp_path, database):
    """With refusals, changes of limits, and a journal that is trimmed meanwhile."""
    is_file = database == "sqlite"
    url = f"sqlite:///{tmp_path}/budget.db" if is_file else request.getfixturevalue("postgres").url()
    kind = SqliteStore if is_file else PostgresStore
    store = kind(
        url, namespace=secrets.token_hex(8), timeout_s=10, clock_ms=clock, retention=Retention(journal_max=200)
    )
    traffic, copier = Traffic(clock, seed=11), histories.copier(store)
    refused = await store.reserve(reserve("r1", "5.00", KEY))
    assert refused.rejection is not None
    await store.log_refusals([LoggedRefusal(clock(), "r1", ("key:a",), refused.rejection)])
    for _ in range(2):
        await traffic.play(store, 40)
        await copier.copy_all()
    await store.set_limit("team:t", period=Period.MONTH, limit_nanos=7)
    entries = histories.entries()
    assert spent_by_counter(entries) == await spent_in(store) == histories.balances()
    assert histories.reader().gaps(LEDGER) == []
    await traffic.play(store, 400)
    await copier.copy_all()
    assert [gap.why for gap in histories.reader().gaps(LEDGER)] == [Why.TRIMMED]
    assert histories.balances() == await spent_in(store)
    assert limits_as_of(histories.database(), LEDGER, number=1) == (await store.limits()).limits
    assert [each.reservation_id for each in histories.reader().refusals(LEDGER)] == ["r1"]
    await store.aclose()
