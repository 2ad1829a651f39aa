"""Only one migration to a ledger runs at a time: two would give back each other's holds."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.migrating.sides import Side

LEASE_MS = 15_000
"""After one that was killed the next begins so much later, at most."""

_LOOKS_EVERY_S = 0.2
_ENDS_WITHIN_S = 2.0
_RENEW_S = LEASE_MS / 3000

_SHELF, _NAME = "migration", "lease"


@asynccontextmanager
async def alone(destination: Side) -> AsyncIterator[None]:
    """Hold the destination's lease in the block. OperationError while another migration has it, or once one took it."""
    lease = _Lease(destination)
    await lease.take_from_the_dead()
    block = asyncio.current_task()
    assert block is not None, "it is asked for in a task"
    is_over = asyncio.Event()
    renewing = asyncio.create_task(lease.keep(block, is_over))
    try:
        yield
    except asyncio.CancelledError:
        if lease.is_lost and block.uncancel() == 0:
            raise OperationError(_taken(destination)) from None
        raise
    finally:
        is_over.set()
        # A renewal that is cut off may leave a connection behind.
        await asyncio.wait((renewing,), timeout=_ENDS_WITHIN_S)
        renewing.cancel()
        await lease.give_up()


def _taken(destination: Side) -> str:
    return f"TO_URL: another migration to {destination.shown} is under way; let it end, or interrupt it"


class _Lease:
    """A text in the destination: who has it, and until when by its clock."""

    def __init__(self, destination: Side) -> None:
        self.is_lost = False
        self._destination = destination
        self._owner = secrets.token_hex(8)
        self._text: str | None = None

    async def take_from_the_dead(self) -> None:
        """Take it, if need be once that of a killed migration has run out. OperationError once another's is renewed."""
        seen = await self._known()
        while True:
            try:
                await self.take()
            except OperationError:
                if await self._known() not in (seen, None):
                    raise
            else:
                return
            await asyncio.sleep(_LOOKS_EVERY_S)

    async def take(self) -> None:
        """Take it or renew it. OperationError where it is another's."""
        store, now_ms = self._destination.store, await self._now_ms()
        known = await self._known()
        owner, _, until_ms = (known or "").partition(" ")
        mine = f"{self._owner} {now_ms + LEASE_MS}"
        if owner and owner != self._owner and (self._text is not None or int(until_ms) > now_ms):
            raise OperationError(_taken(self._destination))
        await self._destination.ask(lambda: store.swap_text(_SHELF, _NAME, before=known, after=mine, keep_ms=LEASE_MS))
        # Where the answer was lost, the text that is there says who was first.
        if await self._known() != mine:
            raise OperationError(_taken(self._destination))
        self._text = mine

    async def keep(self, block: "asyncio.Task[object]", is_over: asyncio.Event) -> None:
        """Renew it until the block is over; cancel the block once that is impossible."""
        try:
            while not is_over.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(is_over.wait(), _RENEW_S)
                if not is_over.is_set():
                    await self.take()
        except OperationError:
            if not is_over.is_set():
                self.is_lost = True
                block.cancel()

    async def give_up(self) -> None:
        store = self._destination.store
        # Another's is left alone: it is another text.
        with suppress(OperationError):
            await self._destination.ask(
                lambda: store.swap_text(_SHELF, _NAME, before=self._text, after=None, keep_ms=0), patience_s=0
            )

    async def _known(self) -> str | None:
        return (await self._destination.ask(lambda: self._destination.store.texts(_SHELF))).get(_NAME)

    async def _now_ms(self) -> int:
        return (await self._destination.ask(self._destination.store.head)).now_ms
