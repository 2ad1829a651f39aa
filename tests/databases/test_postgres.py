"""Connecting to a real Postgres, and what its errors say in one line."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from budget_middleware.databases.errors import DatabaseAway, DatabaseFault
from budget_middleware.databases.migrations import NewerSchema, Steps
from budget_middleware.databases.postgres.dialing import check_url, connect
from budget_middleware.databases.postgres.faults import StandbyFault, TablesMissing
from budget_middleware.databases.postgres.migrating import migrate
from budget_middleware.databases.postgres.statements import Statement, number, numbers, text, texts
from budget_middleware.databases.postgres.wire import Wire
from tests.databases.postgres_server import GUARDED, PostgresServer

STEPS: Steps = [
    ["create table things (id bigint primary key)", "create index on things (id)"],
    ["insert into things values (7)"],
]


def run_sql(url: str, *statements: str) -> list[tuple]:
    with psycopg.connect(url, autocommit=True) as connection:
        rows: list[tuple] = []
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
        return rows


@pytest.fixture
def database(postgres: PostgresServer, namespace: str) -> str:
    """The URL of an empty database."""
    run_sql(postgres.url(), f'create database "{namespace}" strategy file_copy')
    return postgres.url(namespace)


async def wire_to(url: str, *, timeout_s: float = 10) -> Wire:
    return Wire(await connect(url, timeout_s=timeout_s), timeout_s=timeout_s)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:secret@host:5433/name",
        "postgresql://host1,host2:5433/name?sslmode=require",
        "postgres:///name?host=/var/run/postgresql",
        "postgresql://host/name?options=-csearch_path%3Dbudgets",
    ],
)
def test_urls_of_libpq_are_accepted(url: str):
    check_url(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://host/name?sslmodus=require", "the option 'sslmodus' is not known; accepted are"),
        ("postgresql://us%er:secret@host/name", "accepted: postgresql://USER:PASSWORD@HOST:PORT/NAME"),
        ("postgresql+asyncpg://host/name", "accepted: postgresql://"),
    ],
)
def test_a_wrong_url_is_refused_in_one_line_without_its_password(url: str, words: str):
    with pytest.raises(ValueError, match=words) as refused:
        check_url(url)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r'pip install "budget-middleware\[postgres\]"'):
        check_url("postgresql://host/name")


async def test_no_server_is_no_answer(tmp_path: Path):
    with pytest.raises(DatabaseAway, match="pg_isready"):
        await connect(f"postgresql:///name?host={tmp_path}", timeout_s=5)


async def test_a_wrong_database_is_named(postgres: PostgresServer):
    with pytest.raises(DatabaseFault, match="no such database") as error:
        await connect(postgres.url("nowhere"), timeout_s=5)
    assert "\n" not in str(error.value)


async def test_a_wrong_user_is_named(postgres: PostgresServer):
    with pytest.raises(DatabaseFault, match="does not let this user in"):
        await connect(postgres.url(user="stranger"), timeout_s=5)


async def test_a_wrong_password_is_named(postgres: PostgresServer):
    run_sql(postgres.url(), f"create role {GUARDED} login password 'right'")
    url = postgres.url(user=GUARDED).replace("@", ":{}@")
    async with await connect(url.format("right"), timeout_s=10):
        pass
    with pytest.raises(DatabaseFault, match="correct user and password") as error:
        await connect(url.format("wrong-one"), timeout_s=10)
    assert "wrong-one" not in str(error.value)


async def test_no_connection_left_is_no_answer(postgres: PostgresServer, database: str, namespace: str):
    run_sql(postgres.url(), f'alter database "{namespace}" connection limit 0', f'create role "{namespace}" login')
    with pytest.raises(DatabaseAway, match="max_connections"):
        await connect(postgres.url(namespace, user=namespace), timeout_s=5)


async def test_a_database_that_lets_itself_only_be_read_is_a_standby(
    database: str, postgres: PostgresServer, namespace: str
):
    run_sql(postgres.url(), f'alter database "{namespace}" set default_transaction_read_only = on')
    with pytest.raises(StandbyFault, match="read-only"):
        await connect(database, timeout_s=5)


async def test_who_may_not_make_tables_is_told(postgres: PostgresServer, database: str, namespace: str):
    run_sql(postgres.url(), f'create role "{namespace}" login')
    async with await connect(postgres.url(namespace, user=namespace), timeout_s=5) as connection:
        with pytest.raises(DatabaseFault, match="lacks rights"):
            await migrate(connection, "ledger", STEPS, timeout_s=10)


async def test_of_many_that_migrate_at_once_one_does(database: str):
    async def lead() -> None:
        async with await connect(database, timeout_s=10) as connection:
            await migrate(connection, "ledger", STEPS, timeout_s=10)

    await asyncio.gather(*[lead() for _ in range(4)])
    assert run_sql(database, "select id from things") == [(7,)]
    assert run_sql(database, "select * from budget_schema") == [("ledger", 2)]


async def test_a_database_is_led_on_from_where_it_is(database: str):
    async with await connect(database, timeout_s=10) as connection:
        await migrate(connection, "ledger", STEPS[:1], timeout_s=10)
        assert run_sql(database, "select count(*) from things") == [(0,)]
        await migrate(connection, "ledger", STEPS, timeout_s=10)
    assert run_sql(database, "select count(*) from things") == [(1,)]


async def test_a_newer_schema_is_refused(database: str):
    async with await connect(database, timeout_s=10) as connection:
        await migrate(connection, "ledger", STEPS, timeout_s=10)
        with pytest.raises(NewerSchema, match="schema 2; this one knows up to 1"):
            await migrate(connection, "ledger", STEPS[:1], timeout_s=10)


async def test_a_step_that_fails_leaves_nothing(database: str):
    async with await connect(database, timeout_s=10) as connection:
        with pytest.raises(DatabaseFault):
            await migrate(connection, "ledger", [*STEPS, ["insert into things values (7)"]], timeout_s=10)
    assert run_sql(database, "select to_regclass('things')") == [(None,)]


# The wire.

TEXTS = [
    "",
    " ",
    'a "quoted" one',
    "back\\slash",
    "{braces, and commas}",
    "NULL",
    "söme ünïcode 🙂",
    "line\nbreak",
    None,
]


async def test_texts_and_numbers_come_back_as_they_were_sent(postgres: PostgresServer):
    wire = await wire_to(postgres.url())
    figures = [0, -1, 2**63 - 1, -(2**63), None]
    (sent, (both,), flags) = await wire.ask(
        [
            Statement("select t from unnest($1::text[]) t", [texts(TEXTS)]),
            Statement("select $1::text, $2::bigint", [text('x"\\'), number(-5)]),
            Statement("select n, n = 0 from unnest($1::bigint[]) n", [numbers(figures)]),
        ]
    )
    assert [value for (value,) in sent] == TEXTS
    assert both == ('x"\\', -5)
    assert flags == [(0, True), *[(figure, False) for figure in figures[1:-1]], (None, None)]
    wire.break_off("the test is over")


async def test_asks_that_go_before_earlier_ones_are_answered_keep_their_order(postgres: PostgresServer):
    wire = await wire_to(postgres.url())
    answers = [wire.ask([Statement("select $1::bigint", [number(each)])] * 2) for each in range(50)]
    answers[3].cancel()
    with suppress(asyncio.CancelledError):
        await answers[3]
    kept = [await answer for place, answer in enumerate(answers) if place != 3]
    assert kept == [[[(each,)], [(each,)]] for each in range(50) if each != 3]
    assert wire.is_idle
    wire.break_off("the test is over")


async def test_more_than_a_socket_takes_at_once_is_sent(postgres: PostgresServer):
    wire = await wire_to(postgres.url())
    long = "x" * 3_000_000
    ((row,),) = await wire.ask([Statement("select $1::text", [text(long)])])
    assert row == (long,)
    wire.break_off("the test is over")


async def test_an_error_rolls_back_what_was_begun_and_closes_the_wire(database: str):
    run_sql(database, "create table things (id bigint primary key)")
    wire = await wire_to(database)
    put = Statement("insert into things values ($1)", [number(7)])
    first = wire.ask([Statement("begin"), put, put, Statement("commit")])
    second = wire.ask([Statement("select 1")])
    with pytest.raises(DatabaseFault, match="23505"):
        await first
    with pytest.raises(DatabaseAway):
        await second
    assert not wire.is_usable
    assert run_sql(database, "select * from things") == []
    with pytest.raises(DatabaseAway, match="closed"):
        await wire.ask([Statement("select 1")])


async def test_missing_tables_are_named(database: str):
    wire = await wire_to(database)
    with pytest.raises(TablesMissing):
        await wire.ask([Statement("select * from things")])


async def test_a_killed_server_is_no_answer(own_postgres: PostgresServer):
    wire = await wire_to(own_postgres.url())
    waiting = wire.ask([Statement("select pg_sleep(100)")])
    own_postgres.kill()
    with pytest.raises(DatabaseAway):
        await waiting
    assert not wire.is_usable


async def test_a_silent_server_is_given_up_after_the_time_out(own_postgres: PostgresServer):
    wire = await wire_to(own_postgres.url(), timeout_s=0.3)
    own_postgres.pause()
    try:
        with pytest.raises(DatabaseAway, match=r"no answer within 0\.3 s"):
            await wire.ask([Statement("select 1")])
        with pytest.raises(DatabaseAway, match=r"within 0\.3 s"):
            await connect(own_postgres.url(), timeout_s=0.3)
    finally:
        own_postgres.resume()


@asynccontextmanager
async def silent_at(word: bytes, server: PostgresServer, folder: Path) -> AsyncIterator[str]:
    """The URL of a server that says nothing more once a statement has this word."""

    writers: list[asyncio.StreamWriter] = []
    passing: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(str(server.folder / ".s.PGSQL.5432"))
        writers.extend((writer, server_writer))
        passing.append(asyncio.create_task(_pass_on(reader, server_writer, until=word)))
        passing.append(asyncio.create_task(_pass_on(server_reader, writer)))

    async with await asyncio.start_unix_server(serve, str(folder / ".s.PGSQL.5432")):
        yield f"postgresql://postgres@/postgres?host={folder}"
        for each in writers:
            each.close()
        await asyncio.gather(*passing, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, until: bytes | None = None) -> None:
    is_silent = False
    while data := await reader.read(65_536):
        is_silent = is_silent or (until is not None and until in data)
        if not is_silent:
            writer.write(data)


# The driver would ask a silent server to cancel what it was asked, and wait for that for seconds.


async def test_a_server_that_falls_silent_once_it_has_let_us_in_is_given_up_too(
    postgres: PostgresServer, tmp_path: Path
):
    async with silent_at(b"set_config", postgres, tmp_path) as url, asyncio.timeout(4):
        with pytest.raises(DatabaseAway, match=r"no connection within 0\.3 s"):
            await connect(url, timeout_s=0.3)


async def test_one_that_does_not_say_how_far_its_tables_are_is_given_up_too(postgres: PostgresServer, tmp_path: Path):
    async with silent_at(b"to_regclass", postgres, tmp_path) as url, asyncio.timeout(4):
        connection = await connect(url, timeout_s=5)
        with pytest.raises(DatabaseAway, match="how far its tables are"):
            await migrate(connection, "ledger", STEPS, timeout_s=0.3)


async def test_who_is_cancelled_meanwhile_goes_at_once(postgres: PostgresServer, tmp_path: Path):
    async with silent_at(b"set_config", postgres, tmp_path) as url, asyncio.timeout(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await connect(url, timeout_s=60)


async def test_a_statement_ends_at_the_server_too(postgres: PostgresServer):
    # The wire itself would wait for ever.
    wire = Wire(await connect(postgres.url(), timeout_s=0.1), timeout_s=1000)
    with pytest.raises(DatabaseAway, match="longer than the time-out"):
        await wire.ask([Statement("select pg_sleep(100)")])


async def test_who_stands_still_within_a_transaction_does_not_keep_the_others(database: str):
    run_sql(database, "create table things (id bigint primary key)", "insert into things values (1)")
    lock = [Statement("begin"), Statement("select * from things for update")]
    held = Wire(await connect(database, timeout_s=0.2), timeout_s=1000)
    await held.ask(lock)
    other = await wire_to(database)
    assert (await other.ask(lock))[1] == [(1,)]
    await held.closed
    other.break_off("the test is over")


async def test_notices_of_others_are_heard(postgres: PostgresServer):
    heard: asyncio.Queue[str] = asyncio.Queue()
    wire = Wire(await connect(postgres.url(), timeout_s=10), timeout_s=10, on_notified=heard.put_nowait)
    await wire.ask([Statement("listen freed")])
    run_sql(postgres.url(), "notify freed, 'team:search'")
    assert await heard.get() == "team:search"
    wire.break_off("the test is over")
