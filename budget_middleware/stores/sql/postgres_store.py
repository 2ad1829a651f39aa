"""The store in a database of Postgres, shared by all workers that reach it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.freed import touch
from budget_middleware.stores.sql.postgres_driver import PostgresDriver
from budget_middleware.stores.sql.scripts import At, Script, ask
from budget_middleware.stores.sql.store import SqlStore


class DatabaseFacts(NamedTuple):
    """A server and a database of it."""

    version: str
    bytes: int
    fsync: str
    synchronous_commit: str
    connections: int
    max_connections: int


def _facts(_: At) -> Script[DatabaseFacts]:
    (row,) = yield from ask(
        "select current_setting('server_version'), pg_database_size(current_database()), current_setting('fsync'),"
        " current_setting('synchronous_commit'), (select count(*) from pg_stat_activity where backend_type ="
        " 'client backend'), current_setting('max_connections')::bigint"
    )
    return DatabaseFacts(*row)


class PostgresStore(SqlStore):
    """Counters at a URL such as ``postgresql://host/name``; ValueError, in one line, for one that cannot be used.

    ``timeout_s`` bounds connecting and every round trip. ``clock_ms`` is the clock of a test: by itself the store has
    that of its server.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "budget",
        timeout_s: float = 0.5,
        retention: Retention | None = None,
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        retention = retention or Retention()
        self._database = PostgresDriver(
            url, namespace=namespace, timeout_s=timeout_s, retention=retention, clock_ms=clock_ms
        )
        self.place = url, namespace
        super().__init__(self._database, retention)

    async def check(self) -> None:
        """Connect, make the tables if there are none, and write to the ledger."""
        await self._database.write(touch)

    async def facts(self) -> DatabaseFacts:
        """What the server says of itself."""
        return await self._database.read(_facts)

    async def listen(self, on_freed: Callable[[Sequence[str]], object], *, on_ready: Callable[[], object]) -> None:
        await self._database.listen(on_freed, on_ready=on_ready)
