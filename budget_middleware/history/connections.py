"""A history's database, SQLite or Postgres behind the same few calls. They block: call them from a thread."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from budget_middleware.databases import sqlite
from budget_middleware.databases.errors import DatabaseFault
from budget_middleware.databases.postgres.blocking import BlockingConnection
from budget_middleware.databases.postgres.dialing import check_url
from budget_middleware.databases.urls import SqliteUrl, parse_url
from budget_middleware.history.schema import COMPONENT, steps

Row = tuple[Any, ...]

TIMEOUT_S = 30.0
"""How long a server may take for one statement."""

BUSY_S = 5.0
"""How long a statement waits for another process that writes to the same file."""


class HistoryDatabase(Protocol):
    """Statements have ``?`` for their values, in both databases. Everything may raise DatabaseFault."""

    @property
    def has_partitions(self) -> bool:
        """Whether the entries of each month are a table of their own."""
        ...

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]: ...
    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """As `fetch`, for more rows than there should be in memory."""
        ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """How many rows it changed."""
        ...

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None: ...

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing of the block."""
        ...

    def clock_ms(self) -> int:
        """The clock of the database, which is the same for all who write to it."""
        ...

    def rest(self) -> None:
        """Close what the child of a fork must not share; the next call opens it again."""
        ...

    def close(self) -> None: ...


class SqliteHistory:
    """A history in a file."""

    has_partitions = False

    def __init__(self, url: SqliteUrl, *, for_reading: bool) -> None:
        self._path = url.path
        self._url = url
        self._for_reading = for_reading
        self._opened: sqlite3.Connection | None = None
        self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite.open_migrated(self._url, COMPONENT, steps(has_partitions=False), busy_s=BUSY_S)
        if self._for_reading:
            connection.execute("pragma query_only = on")
        self._opened = connection
        return connection

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._opened or self._open()

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with sqlite.faults_named(self._path):
            return self._connection.execute(sql, values).fetchall()

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        with sqlite.faults_named(self._path):
            yield from self._connection.execute(sql, values)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        with sqlite.faults_named(self._path):
            return self._connection.execute(sql, values).rowcount

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with sqlite.faults_named(self._path):
            self._connection.executemany(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with sqlite.faults_named(self._path), sqlite.transaction(self._connection):
            yield

    def clock_ms(self) -> int:
        return time.time_ns() // 1_000_000  # All who write to a file are on its machine.

    def rest(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def close(self) -> None:
        self.rest()


class PostgresHistory(BlockingConnection):
    """A history on a server."""

    has_partitions = True

    def __init__(self, url: str, *, for_reading: bool) -> None:
        super().__init__(url, timeout_s=TIMEOUT_S, for_reading=for_reading)
        if not for_reading:
            self._lead()

    def _lead(self) -> None:
        try:
            self.migrate(COMPONENT, steps(has_partitions=True))
        except BaseException:
            # A gateway tries again and again: none of its tries may leave a connection.
            self.close()
            raise

    def clock_ms(self) -> int:
        ((now_ms,),) = self.fetch("select (extract(epoch from clock_timestamp()) * 1000)::bigint")
        return int(now_ms)

    def rest(self) -> None:
        """A child uses no connection of its parent, and ends none."""


def open_database(url: str, *, for_reading: bool = False) -> HistoryDatabase:
    """Connect, and lead the tables to this version. ValueError for a URL that names no database; DatabaseFault."""
    parsed = parse_url(url)
    if isinstance(parsed, SqliteUrl):
        if for_reading and not parsed.path.exists():
            raise DatabaseFault(f"there is no history in {parsed.path}", "gateways with BUDGET_HISTORY_URL write one")
        return SqliteHistory(parsed, for_reading=for_reading)
    check_url(parsed.url)
    return PostgresHistory(parsed.url, for_reading=for_reading)
