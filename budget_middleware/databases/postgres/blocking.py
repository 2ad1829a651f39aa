"""A connection for code that blocks: its event loop runs in a thread of its own, so any thread may ask it, one by one.

It connects again by itself where the connection was lost, unless a transaction was under way: that is rolled back.
The server ends a statement that takes it too long. One that hangs does not, so its connection is given up here.
"""

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from budget_middleware.databases.errors import DatabaseAway, DatabaseFault
from budget_middleware.databases.migrations import Steps
from budget_middleware.databases.postgres.dialing import CHECK_SERVER, answered, connect, fault_of
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
            self._wait_for(self._connected())
        except BaseException:
            self.close()
            raise

    def migrate(self, component: str, steps: Steps) -> None:
        silent_s = self._timeout_s + GRACE_S
        self._run(lambda connection: migrate(connection, component, steps, timeout_s=silent_s), limit_s=math.inf)

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        async def ask(connection: "AsyncConnection[Any]") -> list[Row]:
            return await (await connection.execute(_marked(sql), values)).fetchall()

        return self._run(ask)

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """As `fetch`, for more rows than there should be in memory."""

        async def ask(connection: "AsyncConnection[Any]") -> Any:
            # A cursor with a name is kept by the server, which sends rows as they are fetched.
            cursor = connection.cursor(name="budget")
            await cursor.execute(_marked(sql), values)
            return cursor

        with self.transaction():
            cursor = self._run(ask)
            try:
                while rows := self._run(lambda _: cursor.fetchmany(_PAGE)):
                    yield from rows
            finally:
                self._run(lambda _: cursor.close())

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """How many rows it changed."""

        async def ask(connection: "AsyncConnection[Any]") -> int:
            return (await connection.execute(_marked(sql), values)).rowcount

        return self._run(ask)

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        for first in range(0, len(rows), ROWS_AT_ONCE):

            async def ask(connection: "AsyncConnection[Any]", first: int = first) -> None:
                async with connection.cursor() as cursor:
                    await cursor.executemany(_marked(sql), rows[first : first + ROWS_AT_ONCE])

            self._run(ask)

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
            self._wait_for(end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _connected(self) -> "AsyncConnection[Any]":
        if self._connection is None or (self._connection.closed and not self._is_in_transaction):
            self._connection = await connect(self._url, timeout_s=self._timeout_s, for_reading=self._for_reading)
            _read_sums_as_int(self._connection)
        return self._connection

    def _run(
        self, step: Callable[["AsyncConnection[Any]"], Coroutine[Any, Any, _T]], *, limit_s: float | None = None
    ) -> _T:
        import psycopg

        limit_s = limit_s or self._timeout_s + GRACE_S

        async def ask() -> _T:
            connection = await self._connected()
            return await answered(connection, step(connection), until_s=self._loop.time() + limit_s)

        try:
            return self._wait_for(ask())
        except TimeoutError as error:
            raise DatabaseAway(f"no answer within {limit_s:g} s", CHECK_SERVER) from error
        except psycopg.Error as error:
            raise fault_of(error) from error

    def _wait_for(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


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
