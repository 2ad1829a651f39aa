"""A Postgres that is killed, fails over, lets itself only be read, is full of clients or locked, under load."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.databases.postgres.faults import fault_of_state
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, WrongServer
from budget_middleware.stores.sql import postgres_driver
from budget_middleware.stores.sql.postgres_store import PostgresStore
from budget_middleware.stores.sql.postgres_tables import TABLES
from tests.databases.postgres_server import PostgresServer
from tests.databases.test_postgres import silent_at
from tests.stores.audit import audit
from tests.stores.verbs import LASTING, finalize, reserve

T = TypeVar("T")

WORKERS, AT_ONCE, PAIRS = 3, 8, 240


class Traffic:
    """Pairs of verbs of several workers, each repeated by its id until it is answered."""

    def __init__(self, stores: list[PostgresStore]) -> None:
        self.stores = stores
        self.is_back = asyncio.Event()
        self.is_back.set()
        self.answered = asyncio.Semaphore(0)
        self.repeats = 0

    async def run(self) -> None:
        numbers = iter(range(PAIRS))
        async with asyncio.TaskGroup() as group:
            for store in self.stores:
                for _ in range(AT_ONCE):
                    group.create_task(self._pairs(store, numbers))

    async def _pairs(self, store: PostgresStore, numbers: Iterator[int]) -> None:
        for number in numbers:
            held, ended = reserve(f"r{number}", "0.002", LASTING), finalize(f"r{number}", "0.001", LASTING)
            assert (await self._until_answered(partial(store.reserve, held))) in _ONCE_OR_AGAIN
            assert (await self._until_answered(partial(store.finalize, ended))) in _ONCE_OR_AGAIN
            self.answered.release()

    async def _until_answered(self, ask: Callable[[], Awaitable]) -> Status:
        while True:
            try:
                return (await ask()).status
            except (StoreUnavailable, WrongServer):
                self.repeats += 1
                # The server's processes end one after the other, and a new one is not there at once.
                await asyncio.sleep(0.01)
                await self.is_back.wait()

    @asynccontextmanager
    async def in_the_midst(self) -> AsyncIterator[None]:
        """The block happens when a third is done, and the rest is done after it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.run())
            for _ in range(PAIRS // 3):
                await self.answered.acquire()
            self.is_back.clear()
            yield
            self.is_back.set()


# The second of each is the answer to a repeated verb whose first answer the server's death cut off.
_ONCE_OR_AGAIN = {Status.RESERVED, Status.DUPLICATE, Status.FINALIZED, Status.ALREADY_FINALIZED}


@pytest.fixture
async def open_at() -> AsyncIterator[Callable[..., PostgresStore]]:
    opened: list[PostgresStore] = []

    def open_store(url: str, *, namespace: str = "budget", timeout_s: float = 10) -> PostgresStore:
        opened.append(PostgresStore(url, namespace=namespace, timeout_s=timeout_s))
        return opened[-1]

    yield open_store
    for store in opened:
        await store.aclose()


async def booked_once(store: PostgresStore) -> None:
    """Each pair is booked, and none twice."""
    await audit(store)
    (view,) = await store.counters()
    assert (view.balance.spent, view.balance.reserved) == (PAIRS * 1_000_000, 0)
    entries = await store.journal(after_seq=0, count=10_000)
    ended = [entry.reservation_id for entry in entries if entry.status is Status.FINALIZED]
    assert sorted(ended) == sorted({f"r{number}" for number in range(PAIRS)})


async def test_what_a_killed_server_has_answered_is_kept_and_nothing_is_booked_twice(own_postgres, open_at):
    traffic = Traffic([open_at(own_postgres.url()) for _ in range(WORKERS)])
    generation = (await traffic.stores[0].head()).generation
    async with traffic.in_the_midst():
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.to_thread(own_postgres.start)
    assert traffic.repeats, "it was killed too late"
    await booked_once(traffic.stores[0])
    assert (await traffic.stores[0].head()).generation == generation


async def test_workers_find_the_standby_that_was_promoted(own_postgres: PostgresServer, tmp_path: Path, open_at):
    with ExitStack() as stack:
        standby = await asyncio.to_thread(own_postgres.backup, own_postgres.folder / "standby", is_standby=True)
        await asyncio.to_thread(standby.start)
        stack.callback(standby.kill)
        # A commit is answered once the standby has it.
        run_sql(own_postgres, "alter system set synchronous_standby_names = '*'", "select pg_reload_conf()")
        url = f"postgresql://postgres@/postgres?host={own_postgres.folder},{standby.folder}"
        traffic = Traffic([open_at(url) for _ in range(WORKERS)])
        await traffic.stores[0].check()
        with pytest.raises(WrongServer, match="read-only standby"):
            await open_at(standby.url()).check()
        async with traffic.in_the_midst():
            await asyncio.to_thread(own_postgres.kill)
            await asyncio.to_thread(standby.promote)
            run_sql(standby, "alter system set synchronous_standby_names = ''", "select pg_reload_conf()")
        await booked_once(traffic.stores[0])


def run_sql(server: PostgresServer, *statements: str, database: str = "postgres") -> None:
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


async def test_a_restored_backup_shows_as_lost_writes(own_postgres: PostgresServer, open_at):
    store = open_at(own_postgres.url())
    await store.reserve(reserve("r1", "0.20", LASTING))
    copy = await asyncio.to_thread(own_postgres.backup, own_postgres.folder / "copy")
    await store.reserve(reserve("r2", "0.20", LASTING))
    lost = await store.head()
    await asyncio.to_thread(copy.start)
    try:
        restored = await open_at(copy.url()).head()
    finally:
        copy.kill()
    assert (restored.generation, restored.seq) == (lost.generation, lost.seq - 1)


async def test_a_database_that_lets_itself_only_be_read_is_left_until_it_is_writable(own_postgres, open_at):
    store = open_at(own_postgres.url())
    await store.reserve(reserve("r1", "0.20", LASTING))
    others = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'budget_middleware'"
    run_sql(own_postgres, "alter system set default_transaction_read_only = on", "select pg_reload_conf()", others)
    with pytest.raises((WrongServer, StoreUnavailable)):
        await store.reserve(reserve("r2", "0.20", LASTING))
    with pytest.raises(WrongServer, match="read-only"):
        await store.check()
    run_sql(own_postgres, "alter system reset default_transaction_read_only", "select pg_reload_conf()")
    assert (await store.reserve(reserve("r2", "0.20", LASTING))).status is Status.RESERVED


async def test_a_server_without_connections_left_is_away(postgres: PostgresServer, namespace: str, open_at):
    run_sql(postgres, f'create database "{namespace}"', f'create role "{namespace}" login connection limit 1')
    run_sql(postgres, f'grant create on schema public to "{namespace}"', database=namespace)
    store = open_at(postgres.url(namespace, user=namespace))
    await store.check()
    # What operators read has a connection of its own.
    with pytest.raises(StoreUnavailable, match="raise max_connections"):
        await store.counters()
    assert (await store.reserve(reserve("r1", "0.20", LASTING))).status is Status.RESERVED


async def test_who_holds_the_lock_makes_others_wait_for_the_time_out_only(postgres, namespace: str, open_at):
    store = open_at(postgres.url(), namespace=namespace, timeout_s=0.4)
    await store.check()
    with psycopg.connect(postgres.url()) as holder:
        holder.execute("select * from budget_ledgers where namespace = %s for update", (namespace,))
        with pytest.raises(StoreUnavailable):
            await store.reserve(reserve("r1", "0.20", LASTING))
    assert (await store.reserve(reserve("r1", "0.20", LASTING))).status is Status.RESERVED
    (view,) = await store.counters()
    assert view.balance.reserved == 200_000_000


async def test_text_that_cannot_be_stored_spoils_no_other_verb(postgres, namespace: str, open_at):
    store = open_at(postgres.url(), namespace=namespace)
    verbs = (
        reserve("r1", "0.20", LASTING),
        reserve("r2\udc80", "0.20", LASTING),
        reserve("r3", "0.20", LASTING, trace="\0"),
    )
    answers: list = await asyncio.gather(*map(store.reserve, verbs), return_exceptions=True)
    assert answers[0].status is Status.RESERVED
    assert [type(answer) for answer in answers[1:]] == [StoreRefused, StoreRefused]


async def test_a_mistake_in_a_transaction_is_a_refusal_and_rolled_back(
    postgres, namespace: str, open_at, monkeypatch: pytest.MonkeyPatch
):
    store = open_at(postgres.url(), namespace=namespace)
    with monkeypatch.context() as planted:
        planted.setattr(postgres_driver, "writes", lambda *_, **__: 1 / 0)
        with pytest.raises(StoreRefused, match="ZeroDivisionError"):
            await store.reserve(reserve("r1", "0.20", LASTING))
    assert (await store.reserve(reserve("r1", "0.20", LASTING))).status is Status.RESERVED
    await audit(store)


async def test_a_worker_hears_what_another_has_freed(postgres, namespace: str, open_at):
    listener, other = (open_at(postgres.url(), namespace=namespace) for _ in range(2))
    heard: asyncio.Queue = asyncio.Queue()
    is_ready = asyncio.Event()
    listening = asyncio.create_task(listener.listen(heard.put_nowait, on_ready=is_ready.set))
    await is_ready.wait()
    await other.reserve(reserve("r1", "0.20", LASTING))
    await other.finalize(finalize("r1", "0.10", LASTING))
    assert await heard.get() == ["key:a"]
    listening.cancel()
    await asyncio.wait([listening])


async def test_the_tables_have_the_columns_that_are_written(postgres, namespace: str, open_at):
    await open_at(postgres.url(), namespace=namespace).check()
    columns = (
        "select string_agg(column_name, ' ' order by ordinal_position) from information_schema.columns"
        " where table_name = %s and column_name <> 'ledger'"
    )
    with psycopg.connect(postgres.url()) as connection:
        for table in TABLES:
            assert connection.execute(columns, (table.name,)).fetchone() == (table.columns,)


def test_a_full_disk_is_named():
    fault = fault_of_state("53100", 'could not extend file "base/5/1": No space left on device')
    assert "the disk of the database is full" in str(fault)


@pytest.mark.parametrize("word", [b"set_config", b"to_regclass"])
async def test_a_server_that_falls_silent_while_a_worker_connects_is_away(
    postgres: PostgresServer, namespace: str, tmp_path: Path, word: bytes
):
    """Within the time-out, however far the worker has come: else it would serve nobody until TCP gives up."""
    async with silent_at(word, postgres, tmp_path) as url, asyncio.timeout(4):
        store = PostgresStore(url, namespace=namespace, timeout_s=0.3)
        for ask in (store.head, partial(store.reserve, reserve("r1", "0.002", LASTING)), store.limits):
            with pytest.raises(StoreUnavailable):
                await ask()
            assert store.is_silent()
        await store.aclose()
