"""The rows of a Postgres store, as somebody sees them who has the database open."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from budget_middleware.core.model import Counter
from budget_middleware.stores.sql.postgres_store import PostgresStore

_TABLES = (
    "select table_name, string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns"
    " where table_name like 'budget_%' and table_name <> 'budget_schema' group by table_name order by table_name"
)

Rows = Mapping[str, list[tuple[Any, ...]]]


@contextmanager
def opened(store: PostgresStore) -> Iterator[tuple[psycopg.Cursor, int]]:
    """A cursor, and the number of the ledger (0: there is none); what the block does is committed."""
    url, namespace = store.place
    with psycopg.connect(url) as connection, connection.cursor() as rows:
        rows.execute("select to_regclass('budget_ledgers') is not null")
        (number,) = rows.fetchone() or (False,)
        if number:
            rows.execute("select id from budget_ledgers where namespace = %s", (namespace,))
            (number,) = rows.fetchone() or (0,)
        yield rows, int(number)


def change_counter(store: PostgresStore, counter: Counter, *, spent: int, reserved: int, adjusted: int) -> None:
    put = (
        "insert into budget_counters as c values (%s, %s, %s, %s, %s, 0, null) on conflict (ledger, name) do update"
        " set spent = c.spent + excluded.spent, reserved = c.reserved + excluded.reserved,"
        " adjusted = c.adjusted + excluded.adjusted"
    )
    with opened(store) as (rows, ledger):
        rows.execute(put, (ledger, counter.name, spent, reserved, adjusted))


def drop_counter(store: PostgresStore, counter: Counter) -> None:
    with opened(store) as (rows, ledger):
        rows.execute("delete from budget_counters where ledger = %s and name = %s", (ledger, counter.name))


def add_to_total(store: PostgresStore, kind: str, amount: int) -> None:
    with opened(store) as (rows, ledger):
        put = "update budget_totals set reserved = reserved + %s where ledger = %s and kind = %s"
        rows.execute(put, (amount, ledger, kind))


def copy_of(store: PostgresStore) -> Rows:
    """What a backup has."""
    copied: dict[str, list[tuple[Any, ...]]] = {}
    with opened(store) as (rows, ledger):
        for table, _ in rows.execute(_TABLES.encode()).fetchall():
            copied[table] = rows.execute(_of(f"select * from {table}", table), (ledger,)).fetchall()
    return copied


def bring_back(store: PostgresStore, copied: Rows) -> None:
    """What an operator does who brings back a backup."""
    lose(store)
    with opened(store) as (rows, _):
        for table, found in copied.items():
            for row in found:
                rows.execute(f"insert into {table} values ({', '.join(['%s'] * len(row))})".encode(), row)


def lose(store: PostgresStore) -> None:
    """All of the ledger is gone."""
    with opened(store) as (rows, ledger):
        for table, _ in rows.execute(_TABLES.encode()).fetchall():
            rows.execute(_of(f"delete from {table}", table), (ledger,))


def _of(statement: str, table: str) -> bytes:
    return f"{statement} where {'id' if table == 'budget_ledgers' else 'ledger'} = %s".encode()
