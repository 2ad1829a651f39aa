"""The store of one machine: a file of SQLite, shared by all processes that open it; no server."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from budget_middleware.databases.sqlite import FileFacts, damage, facts_of
from budget_middleware.databases.urls import parse_sqlite
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.freed import freed_since, touch
from budget_middleware.stores.sql.sqlite_driver import SqliteDriver
from budget_middleware.stores.sql.store import SqlStore

LISTENS_EVERY_S = 0.03
"""So often who listens looks whether anybody has committed: a look takes some ten microseconds."""


class SqliteStore(SqlStore):
    """Counters in a file at a URL such as ``sqlite:///budget.db``; ValueError, in one line, for one that is none.

    ``clock_ms`` is the store's clock (milliseconds since the Unix epoch); tests pass one that they can move.
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
        self._file = SqliteDriver(
            parse_sqlite(url),
            namespace=namespace,
            timeout_s=timeout_s,
            retention=retention,
            clock_ms=clock_ms or (lambda: time.time_ns() // 1_000_000),
        )
        super().__init__(self._file, retention)

    async def check(self) -> None:
        """Open the file, make its tables if there are none, and write to it."""
        await self._file.write(touch)

    async def quick_check(self) -> Sequence[str]:
        """What SQLite finds wrong with the file; nothing for a sound one. It reads all of it."""
        path = self._file.url.path
        return await self._file.look(lambda ledger: damage(ledger.connection, path))

    def facts(self) -> FileFacts:
        """What the system says of the file."""
        return facts_of(self._file.url)

    async def listen(self, on_freed: Callable[[Sequence[str]], object], *, on_ready: Callable[[], object]) -> None:
        """See ``Store``: a file announces nothing, so who listens looks again and again, and nobody else pays."""
        version = await self._file.look(lambda ledger: ledger.data_version())
        _, seq = await self._file.read(partial(freed_since, seq=None))
        on_ready()
        while True:
            await asyncio.sleep(LISTENS_EVERY_S)
            now = await self._file.look(lambda ledger: ledger.data_version())
            if now != version:
                version, since = now, seq
                accounts, seq = await self._file.read(partial(freed_since, seq=since))
                if accounts:
                    on_freed(accounts)
