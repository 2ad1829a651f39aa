"""The connections of one event loop to a ledger in Postgres, dialled when they are first needed."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from budget_middleware.databases.errors import DatabaseAway
from budget_middleware.databases.postgres.dialing import connect
from budget_middleware.databases.postgres.migrating import migrate
from budget_middleware.databases.postgres.statements import Statement, text
from budget_middleware.databases.postgres.wire import Silence, Wire
from budget_middleware.stores.sql.schema import COMPONENT, POSTGRES_STEPS

_FIND: Final = "select id from budget_ledgers where namespace = $1::text"
_MAKE: Final = (
    "insert into budget_ledgers select coalesce(max(id), 0) + 1, $1::text, $2::text, 0, 0, 0, 0, 0, 0, '', 0"
    " from budget_ledgers on conflict do nothing"
)


class Line:
    """One connection, dialled anew when it is gone; ``turn`` is for who needs it for several round trips."""

    def __init__(self, dial: Callable[[], Awaitable[Wire]]) -> None:
        self.turn = asyncio.Lock()
        self._dial = dial
        self._wire: Wire | None = None
        self._dialing: asyncio.Task[Wire] | None = None

    async def wire(self) -> Wire:
        """DatabaseFault, DatabaseAway."""
        if self._wire is not None and self._wire.is_usable:
            return self._wire
        if self._dialing is None:
            # A task, for all who come meanwhile wait for the same connection, and any of them may be cancelled.
            self._dialing = asyncio.ensure_future(self._dial())
            self._dialing.add_done_callback(self._take)
        return await asyncio.shield(self._dialing)

    def _take(self, dialed: "asyncio.Task[Wire]") -> None:
        self._dialing = None
        # Looked at even if nobody waits any more: else asyncio reports an exception that nobody saw.
        if not dialed.cancelled() and dialed.exception() is None:
            self._wire = dialed.result()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Wire]:
        """A connection for a whole transaction, by who has the ``turn``: what raises or is cancelled is rolled back."""
        wire = await self.wire()
        try:
            yield wire
        except BaseException:
            wire.break_off("its transaction was given up")
            raise

    def close(self) -> None:
        if self._dialing is not None:
            self._dialing.cancel()
        if self._wire is not None:
            self._wire.break_off("the store was closed")


class Lines:
    """One connection for what is written, and one for what operators read."""

    def __init__(self, url: str, *, namespace: str, timeout_s: float) -> None:
        self.silence = Silence()
        self.writing = Line(self._dial)
        self.reading = Line(self._dial)
        self.ledger = 0
        self.forgot_ms = 0
        self._url = url
        self._namespace = namespace
        self._timeout_s = timeout_s

    @property
    def channel(self) -> str:
        """Where it is said whose money was freed."""
        return f"budget_freed_{self.ledger}"

    async def _dial(self, on_notified: Callable[[str], object] | None = None) -> Wire:
        try:
            connection = await connect(self._url, timeout_s=self._timeout_s)
            await migrate(connection, COMPONENT, POSTGRES_STEPS, timeout_s=self._timeout_s)
        except DatabaseAway as error:
            self.silence.is_on |= isinstance(error.__cause__, TimeoutError)
            raise
        wire = Wire(connection, timeout_s=self._timeout_s, silence=self.silence, on_notified=on_notified)
        self.ledger = await self._ledger_found(wire)
        return wire

    async def listen(self, on_notified: Callable[[str], object]) -> Wire:
        """A connection that hears whose money is freed from now on, for its caller to close."""
        wire = await self._dial(on_notified)
        # A name in a statement takes no parameter; this one is made of a number.
        await wire.ask([Statement(f"listen {self.channel}")])
        return wire

    async def _ledger_found(self, wire: Wire) -> int:
        """The number of our ledger in this database, which is made if it has none."""
        find = Statement(_FIND, [text(self._namespace)])
        while not (found := (await wire.ask([find]))[0]):
            # Nothing is inserted where another ledger got the number, or somebody else made this one.
            await wire.ask([Statement(_MAKE, [text(self._namespace), text(secrets.token_hex(8))])])
        return int(found[0][0])

    def close(self) -> None:
        self.writing.close()
        self.reading.close()
