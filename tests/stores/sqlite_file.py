"""The file of a SQLite store, as somebody sees it who opens it without the store."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

from budget_middleware.core.model import Counter
from budget_middleware.stores.sql.sqlite_store import SqliteStore


def path_of(store: SqliteStore) -> Path:
    return store._file.url.path


@contextmanager
def opened(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """What the block does is committed."""
    with closing(sqlite3.connect(path_of(store), timeout=10)) as connection, connection:
        yield connection


def change_counter(store: SqliteStore, counter: Counter, *, spent: int, reserved: int, adjusted: int) -> None:
    put = (
        "insert into budget_counters values (1, ?, ?, ?, ?, 0, null) on conflict do update"
        " set spent = spent + excluded.spent, reserved = reserved + excluded.reserved,"
        " adjusted = adjusted + excluded.adjusted"
    )
    with opened(store) as connection:
        connection.execute(put, (counter.name, spent, reserved, adjusted))


def drop_counter(store: SqliteStore, counter: Counter) -> None:
    with opened(store) as connection:
        connection.execute("delete from budget_counters where name = ?", (counter.name,))


def add_to_total(store: SqliteStore, kind: str, amount: int) -> None:
    with opened(store) as connection:
        connection.execute("update budget_totals set reserved = reserved + ? where kind = ?", (amount, kind))


def copy_of(store: SqliteStore) -> Path:
    """What a backup has."""
    copied = path_of(store).with_name(f"copy-{uuid4().hex}.db")
    with opened(store) as connection, closing(sqlite3.connect(copied)) as target:
        connection.backup(target)
    return copied


def bring_back(store: SqliteStore, copied: Path) -> None:
    """What an operator does who brings a backup back into the file."""
    with closing(sqlite3.connect(copied)) as source, opened(store) as connection:
        source.backup(connection)


def lose(store: SqliteStore) -> None:
    """The file is gone, whoever has it open."""
    path = path_of(store)
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
