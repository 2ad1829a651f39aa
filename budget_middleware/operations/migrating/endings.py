"""Records at the destination what has ended at the source, so that an ending that comes again books nothing there."""

import asyncio
from collections.abc import Iterable, Sequence
from hashlib import sha256

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Counter, Reservation
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.core.verbs import Adjust, Finalize
from budget_middleware.operations.migrating.counters import CounterCopy
from budget_middleware.operations.migrating.sides import Side

ENDED_AT_SOURCE = "migrated: it ended at the old store"


class EndingCopy:
    """Finalizes ids that were finalized at the source."""

    def __init__(self, destination: Side, counters: CounterCopy) -> None:
        self._destination = destination
        self._counters = counters

    async def copy(self, entries: Iterable[Entry], *, since_ms: int) -> None:
        """Those of entries since a time of the source."""
        counters: dict[str, dict[Counter, None]] = {}
        for entry in entries:
            if entry.op is Op.FINALIZE and entry.time_ms >= since_ms:
                counters.setdefault(entry.reservation_id, {})[self._counters.renamed(entry.counter)] = None
        await asyncio.gather(*[self._finalize(id_, list(named)) for id_, named in counters.items()])

    async def _finalize(self, id_: str, counters: Sequence[Counter]) -> None:
        # Nothing is booked on them: they say on which shards it may be.
        targets = tuple(map(self._counters.target_of, counters))
        verb = Finalize(id_, targets, NOTHING, reason=ENDED_AT_SOURCE, wants_entries=False)
        answer = await self._destination.send(verb)
        if answer.status is Status.ALREADY_FINALIZED and answer.recorded and answer.recorded.actual != NOTHING:
            await self._take_back(answer.recorded)

    async def _take_back(self, twice: Reservation) -> None:
        """A worker has sent this ending to both stores, and was faster here. What it cost comes with the counters."""
        for at, target in enumerate(twice.targets):
            verb = Adjust(
                sha256(f"twice {twice.id} {at}".encode()).hexdigest()[:32],
                (target,),
                Amounts(*[-amount for amount in twice.actual]),
                any_window=True,
                reason=f"migrated: {twice.id} was booked at both stores",
            )
            await self._destination.send(verb)


def released_in(entries: Sequence[Entry]) -> set[str]:
    """The ids that were released."""
    return {entry.reservation_id for entry in entries if entry.op is Op.RELEASE}
