"""A connection for code that blocks: its event loop runs in a thread of its own, so any thread may ask it, one by one.

It connects again by itself where the connection was lost, unless a transaction was under way: that is rolled back.
The server ends a statement that takes it too long. One that hangs does not, so its connection is given up here.
"""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from budget_middleware.databases.errors import DatabaseAway, DatabaseFault
from budget_middleware.databases.migrations import Steps
from budget_middleware.databases.postgres.dialing import CHECK_SERVER, connect, fault_of
from budget_middleware.databases.postgres.migrating import migrate

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_T = TypeVar("_T")
Row = tuple[Any, ...]

_PAGE = 2_000
"""So many rows of a stream are fetched at once."""
ROWS_AT_ONCE = 100
"""So many rows are written in the time of one statement."""
GRACE_S = 5.0
"""So much later than the server would end it a statement counts as one without an answer."""
MIGRATION_S = 600.0
"""Another process may be making indexes over much data."""


class BlockingConnection:
    """Statements have ``?`` for their values. Everything raises DatabaseFault."""

    def __init__(self, url: str, *, timeout_s: float, for_reading: bool = False) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._for_reading = for_reading
        self._is_in_transaction = False
        self._connection: AsyncConnection[Any] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="budget-postgres", daemon=True)
        self._thread.start()
        try:
            self._run(self._connected())
        except BaseException:
            self.close()
            raise

    def migrate(self, component: str, steps: Steps) -> None:
        async def lead() -> None:
            async with self._in_time(MIGRATION_S) as connection:
                await migrate(connection, component, steps)

        self._run(lead())

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        async def ask() -> list[Row]:
            async with self._in_time() as connection:
                return await (await connection.execute(_marked(sql), values)).fetchall()

        return self._run(ask())

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """As `fetch`, for more rows than there should be in memory."""
        with self.transaction():
            cursor = self._run(self._cursor(sql, values))
            try:
                while rows := self._run(self._in_time_of(cursor.fetchmany, _PAGE)):
                    yield from rows
            finally:
                self._run(self._in_time_of(cursor.close))

    async def _cursor(self, sql: str, values: Sequence[Any]) -> Any:
        """A cursor with a name is kept by the server, which sends rows as they are fetched."""
        async with self._in_time() as connection:
            cursor = connection.cursor(name="budget")
            await cursor.execute(_marked(sql), values)
            return cursor

    async def _in_time_of(self, step: Callable[..., Awaitable[_T]], *values: Any) -> _T:
        async with self._in_time():
            return await step(*values)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """How many rows it changed."""

        async def ask() -> int:
            async with self._in_time() as connection:
                return (await connection.execute(_marked(sql), values)).rowcount

        return self._run(ask())

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        async def ask() -> None:
            for first in range(0, len(rows), ROWS_AT_ONCE):
                async with self._in_time() as connection, connection.cursor() as cursor:
                    await cursor.executemany(_marked(sql), rows[first : first + ROWS_AT_ONCE])

        self._run(ask())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of the block."""
        self.execute("begin")
        self._is_in_transaction = True
        try:
            yield
            self.execute("commit")
        except BaseException:
            with suppress(DatabaseFault):
                self.execute("rollback")
            raise
        finally:
            self._is_in_transaction = False

    def close(self) -> None:
        async def end() -> None:
            if self._connection is not None:
                await self._connection.close()

        if not self._loop.is_closed():
            with suppress(DatabaseFault):
                self._run(end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _connected(self) -> "AsyncConnection[Any]":
        if self._connection is None or (self._connection.closed and not self._is_in_transaction):
            self._connection = await connect(self._url, timeout_s=self._timeout_s, for_reading=self._for_reading)
            _read_sums_as_int(self._connection)
        return self._connection

    @asynccontextmanager
    async def _in_time(self, limit_s: float | None = None) -> AsyncIterator["AsyncConnection[Any]"]:
        """The connection, for work that ends by then. It is not cancelled: the driver would ask the server first."""
        import psycopg

        connection = await self._connected()
        limit_s = limit_s or self._timeout_s + GRACE_S
        timer = self._loop.call_later(limit_s, _shut_down, connection)
        try:
            yield connection
        except (psycopg.Error, DatabaseFault) as error:
            if self._loop.time() < timer.when():
                raise
            raise DatabaseAway(f"no answer within {limit_s:g} s", CHECK_SERVER) from error
        finally:
            timer.cancel()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        import psycopg

        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except psycopg.Error as error:
            raise fault_of(error) from error


def _shut_down(connection: "AsyncConnection[Any]") -> None:
    """Have whoever waits for it hear that it has ended."""
    if connection.closed:
        return
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


def _marked(sql: str) -> bytes:
    return sql.replace("%", "%%").replace("?", "%s").encode()


def _read_sums_as_int(connection: "AsyncConnection[Any]") -> None:
    """Sums of whole numbers are `numeric` there, and whole."""
    from psycopg.adapt import Loader

    class Whole(Loader):
        def load(self, data: Any) -> Any:
            text = bytes(data).decode()
            return int(text) if text.lstrip("-").isdecimal() else float(text)

    connection.adapters.register_loader("numeric", Whole)
