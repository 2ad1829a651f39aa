"""The history on a real Postgres: the same promises, partitions by month, and a server that dies."""

import asyncio
import secrets
import threading
from collections.abc import Iterator

import pytest

from budget_middleware.core.windows import Period
from budget_middleware.databases.errors import DatabaseFault
from budget_middleware.databases.migrations import NewerSchema
from budget_middleware.databases.postgres.blocking import BlockingConnection
from budget_middleware.history.connections import open_database
from budget_middleware.history.following import CATCH_UP_S, HistoryFollower
from budget_middleware.history.forgetting import forget_before
from budget_middleware.history.partitions import month_of
from budget_middleware.history.reading import open_history
from budget_middleware.operations.restores import restore
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from tests.databases.postgres_server import PostgresServer
from tests.history.histories import LEDGER, Histories, booked_in, lose, spent_by_counter, spent_in
from tests.history.test_restoring import context_of
from tests.history.traffic import Traffic
from tests.stores.audit import audit_report
from tests.stores.verbs import UTC, whole_journal

DAY_MS = 86_400_000


@pytest.fixture
def histories(postgres: PostgresServer) -> Iterator[Histories]:
    """In a database of its own."""
    name = f"history_{secrets.token_hex(4)}"
    admin = BlockingConnection(postgres.url(), timeout_s=30)
    admin.execute(f"create database {name}")
    made = Histories(postgres.url(name))
    yield made
    made.close()
    admin.execute(f"drop database {name} with (force)")
    admin.close()


async def test_two_copiers_at_once_copy_each_entry_once(clock, histories):
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=2)
    copiers = [histories.copier(store, owner="same", page=20) for _ in range(2)]
    for _ in range(3):
        await traffic.play(store, 60)
        await asyncio.gather(*(copier.copy_all() for copier in copiers))
    for copier in copiers:
        await copier.copy_all()
    entries = histories.entries()
    assert set(await whole_journal(store)) <= set(entries)
    assert len({entry.seq for entry in entries}) == len(entries)
    assert spent_by_counter(entries) == await spent_in(store) == histories.balances()
    assert histories.booked_nanos() == booked_in(entries)


async def test_a_lost_store_is_restored(clock, histories):
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=5)
    copier = histories.copier(store)
    await store.set_limit("team:t", period=Period.MONTH, limit_nanos=5)
    await traffic.play(store, 100)
    await copier.copy_all()
    lost, limits = await spent_in(store), (await store.limits()).limits
    await lose(store)
    for ending in traffic.ended[-10:]:
        await store.finalize(ending)
    await copier.copy_all()
    await restore(context_of(store, histories), is_live=True)
    assert await spent_in(store) == lost
    assert (await store.limits()).limits == limits
    assert (await audit_report(store)).drift == ()
    await copier.copy_all()
    assert (await restore(context_of(store, histories), is_live=True)).counters == ()


async def test_entries_lie_in_months_and_old_ones_are_dropped_whole(clock, histories):
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=3)
    copier = histories.copier(store)
    await traffic.play(store, 30)
    first, _, _ = month_of(clock())
    clock.advance(s=40 * 86_400)
    await traffic.play(store, 30)
    await copier.copy_all()
    second, begins_ms, _ = month_of(clock())
    database = histories.database()
    assert (first, second) == ("entries_2026_11", "entries_2026_12")
    assert database.fetch(f"select count(*) > 0 from {first}") == [(True,)]
    while forget_before(database, LEDGER, begins_ms):
        pass
    assert database.fetch("select to_regclass(?)", (first,)) == [(None,)]
    assert all(entry.time_ms >= begins_ms for entry in histories.entries())
    await traffic.play(store, 10)
    await copier.copy_all()
    assert histories.reader().gaps(LEDGER) == []


async def test_a_month_that_another_ledger_has_too_stays(clock, histories):
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=4)
    await traffic.play(store, 20)
    await histories.copier(store).copy_all()
    database = histories.database()
    database.execute("update entries set ledger = 'other' where seq = 1")
    while forget_before(database, LEDGER, clock() + 40 * DAY_MS):
        pass
    assert database.fetch("select ledger, seq from entries") == [("other", 1)]


def follower_of(store: Store, server: PostgresServer) -> HistoryFollower:
    """One whose connection nobody else closes."""
    return HistoryFollower(
        store, lambda: open_database(server.url()), namespace=LEDGER, timezone=UTC, journal_max=100_000, days=400
    )


async def test_a_server_that_dies_is_waited_for(clock, own_postgres: PostgresServer):
    histories = Histories(own_postgres.url())
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=6)
    follower = follower_of(store, own_postgres)
    await traffic.play(store, 40)
    while await follower.look() == CATCH_UP_S:
        pass
    own_postgres.kill()
    await traffic.play(store, 40)
    assert await follower.look() > 0
    assert follower.lag.entries > 0
    own_postgres.start()
    while follower.lag.entries:
        await follower.look()
    assert histories.balances() == await spent_in(store)
    assert histories.reader().gaps(LEDGER) == []
    await follower.stop(timeout_s=5)
    histories.close()


async def test_a_server_that_hangs_keeps_no_shutdown(clock, own_postgres: PostgresServer):
    assert not connections_here()
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=7)
    follower = follower_of(store, own_postgres)
    await traffic.play(store, 5)
    while await follower.look() == CATCH_UP_S:
        pass
    await traffic.play(store, 5)
    own_postgres.pause()
    try:
        async with asyncio.timeout(30):
            await follower.stop(timeout_s=0.2)
    finally:
        own_postgres.resume()
    # Its connection is closed once the server goes on.
    async with asyncio.timeout(30):
        while connections_here():
            await asyncio.sleep(0.01)


def connections_here() -> int:
    """How many connections to a history this process has: each has a thread."""
    return sum(thread.name == "budget-postgres" for thread in threading.enumerate())


def test_what_cannot_be_used_is_not_left_open(histories: Histories):
    """As after a rollback of the gateways: they would ask again until the server has no more connections."""
    histories.database().execute("update budget_schema set version = version + 1")
    before = connections_here()
    with pytest.raises(NewerSchema):
        open_database(histories.url)
    assert connections_here() == before


def test_a_server_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(DatabaseFault) as fault:
        open_database(f"postgresql://me@/history?host={tmp_path}")
    assert "\n" not in str(fault.value)


def test_a_database_without_a_history_is_one_line(postgres: PostgresServer):
    with open_history(postgres.url("template1")) as history, pytest.raises(DatabaseFault, match="tables are not there"):
        history.ledgers()
