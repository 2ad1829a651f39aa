"""Holds at the destination what is pending at the source, so that its limits bind both."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from budget_middleware.core.model import Reservation, Target
from budget_middleware.core.statuses import State, Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Grow, Release
from budget_middleware.operations.migrating.endings import ENDED_AT_SOURCE
from budget_middleware.operations.migrating.placing import LEASE_MS, RENEWED_S, Placing, placeable
from budget_middleware.operations.migrating.renaming import Renaming
from budget_middleware.operations.migrating.sides import Side

_ATTEMPTS = 20


@dataclass(slots=True)
class _Copy:
    id: str
    held: Amounts
    renewed_at: float


class HoldCopy:
    """The destination's copies of what is pending at the source.

    A copy has the id of the original, and never ends as that does: it is given back, or finalized at nothing by
    `endings`. One that was expired meanwhile cannot hold again, and has an id of its own in its place.
    """

    def __init__(self, destination: Side, renaming: Renaming) -> None:
        self._destination = destination
        self._store = destination.store
        self._renaming = renaming
        self._placing = Placing(destination)
        self._copies: dict[str, _Copy] = {}

    @property
    def ids(self) -> set[str]:
        """Those of all copies."""
        return {copy.id for copy in self._copies.values()}

    async def copy(self, holds: Sequence[Reservation]) -> None:
        """Hold what is pending at the source, and let copies last."""
        if holds:
            await self._placing.look()
        await asyncio.gather(*map(self._hold, holds))

    async def give_back(self, holds: Sequence[Reservation], *, released: Collection[str]) -> None:
        """Give back what is not pending any more: everything that came of it must have been copied."""
        pending = {hold.id for hold in holds}
        gone = [(original, copy.id) for original, copy in self._copies.items() if original not in pending]
        await asyncio.gather(*[self._give_back(id_, is_released=original in released) for original, id_ in gone])
        for original, _ in gone:
            del self._copies[original]

    async def give_back_strays(self, source: Side) -> None:
        """Copies of an earlier run, that was cut off, whose originals have ended since."""
        holds = await self._destination.ask(self._store.holds)
        await asyncio.gather(*[self._give_back_stray(source, hold.id) for hold in holds])

    async def _give_back_stray(self, source: Side, id_: str) -> None:
        original = await source.ask(partial(source.store.reservation, id_))
        if original is not None and original.state is not State.PENDING:
            await self._give_back(id_, is_released=original.state is State.RELEASED)

    async def _give_back(self, id_: str, *, is_released: bool) -> None:
        if is_released:
            await self._destination.send(Release(id_, reason=ENDED_AT_SOURCE))
        else:
            # Its owner may still end it late, perhaps at this store: a release would refuse that.
            await self._destination.ask(partial(self._destination.ledger.expire, id_, reason=ENDED_AT_SOURCE))

    async def _hold(self, hold: Reservation) -> None:
        known, now = self._copies.get(hold.id), asyncio.get_running_loop().time()
        if known is None:
            await self._reserve(hold)
        elif known.held != hold.held:
            await self._grow(known.id, hold)
        elif now - known.renewed_at >= RENEWED_S:
            answer = await self._placing.renew(known.id)
            known.renewed_at = now
            if answer.status in (Status.ALREADY_EXPIRED, Status.UNKNOWN):
                await self._reserve(hold)

    async def _grow(self, id_: str, hold: Reservation) -> None:
        verb = Grow(id_, hold.held, LEASE_MS, reason="migrated: it holds more at the old store", wants_entries=False)
        await self._destination.send(verb)
        self._remember(id_, hold)

    async def _reserve(self, hold: Reservation) -> None:
        id_ = hold.id
        for attempt in range(_ATTEMPTS):
            answer = await self._placing.reserve(id_, partial(self._targets_of, hold), hold.held)
            if answer is None:
                break
            if answer.status is Status.RESERVED:
                self._remember(id_, hold)
                break
            if answer.recorded is not None and answer.recorded.state is State.PENDING:
                await self._grow(id_, hold)
                break
            id_ = sha256(f"{hold.id} {attempt}".encode()).hexdigest()[:32]

    def _remember(self, id_: str, hold: Reservation) -> None:
        self._copies[hold.id] = _Copy(id_, hold.held, asyncio.get_running_loop().time())

    def _targets_of(self, hold: Reservation, now_ms: int) -> tuple[Target, ...]:
        return placeable(hold, self._renaming, timezone=self._destination.settings.timezone, now_ms=now_ms)
