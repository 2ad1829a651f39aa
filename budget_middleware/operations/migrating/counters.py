"""Brings the destination's counters to what the source has spent."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Carry, Counter, Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import PLACES, Amounts, Unit
from budget_middleware.core.verbs import Adjust
from budget_middleware.core.windows import is_rolling, previous_window, window_named
from budget_middleware.opening import retention_of
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.migrating.progress import OnProgress, Phase, Progress
from budget_middleware.operations.migrating.renaming import Renaming
from budget_middleware.operations.migrating.sides import Side
from budget_middleware.stores.journals import ShardedLedger

_AT_ONCE = 128


class Spent(NamedTuple):
    """What a counter of the source has spent, as of a seq of its journal."""

    amount: int
    seq: int


_NEVER = Spent(0, -1)

Figures = dict[Counter, Spent]
"""By counters of the destination."""


class CounterCopy:
    """Books on the destination what the source has spent, each time the difference.

    All that is booked on one counter is one adjustment under one id, as of a seq of the source's journal: the store
    books the difference to what it knows of that id, and nothing for an earlier seq. So whatever is copied twice, or
    late, changes nothing.
    """

    def __init__(
        self, source: Side, destination: Side, renaming: Renaming, *, generation: str, on_progress: OnProgress
    ) -> None:
        self._source = source
        self._destination = destination
        self._renaming = renaming
        self.generation = generation
        self._on_progress = on_progress
        self._reason = f"migrated from {source.shown}"
        self._copied: Figures = {}

    @property
    def copied(self) -> Mapping[Counter, Spent]:
        """What the destination was last led to."""
        return self._copied

    def id_of(self, counter: Counter) -> str:
        """The id of all adjustments of a counter of the destination."""
        return sha256(f"migrated {self.generation} {counter.name}".encode()).hexdigest()[:32]

    def renamed(self, counter: Counter) -> Counter:
        return self._renaming.counter(counter)

    async def copy_entries(self, entries: Iterable[Entry]) -> None:
        """What entries of the source's journal have changed."""
        figures = {
            self._renaming.counter(entry.counter): Spent(entry.spent, entry.seq)
            for entry in entries
            if entry.spent_delta
        }
        await self._copy(
            {counter: spent for counter, spent in figures.items() if self._copied.get(counter, _NEVER).seq < spent.seq}
        )

    async def copy_all(self, phase: Phase) -> int:
        """All counters of the source; on how many of them the destination had to book something."""
        return await self._copy(await self.read_all(), phase)

    async def read_all(self) -> Figures:
        """What every counter of the source has spent, also those that are back at nothing and so not there any more."""
        source, destination = self._source, self._destination
        head = await source.ask(source.store.head)
        figures: Figures = {
            self._renaming.counter(proof.counter): Spent(proof.balance.spent, proof.seen_at_seq)
            for proof in await source.ask(source.store.proofs)
            if proof.counter.unit is not Unit.INFLIGHT
        }
        is_sharded = isinstance(source.store, ShardedLedger)
        for view in await destination.ask(destination.store.counters):
            counter = view.counter
            if counter in figures or counter.unit is Unit.INFLIGHT:
                continue
            # The destination has it, the source dropped it when it was back at nothing. As of which seq?
            if counter in self._copied:
                seq = self._copied[counter].seq + 1
            elif is_sharded:
                # It is not known which of the shards has dropped it, and each has seqs of its own.
                continue
            else:
                seq = head.seq
            if not self._may_be_forgotten(counter, head.now_ms):
                figures[counter] = Spent(0, seq)
        return figures

    def _may_be_forgotten(self, counter: Counter, now_ms: int) -> bool:
        kept_ms = retention_of(self._source.settings).counter_ms(counter.period)
        return self.target_of(counter).window.ends_ms + kept_ms <= now_ms

    async def _copy(self, figures: Figures, phase: Phase = Phase.FOLLOWING) -> int:
        changed, done, left = 0, 0, iter(figures.items())
        while chunk := list(islice(left, _AT_ONCE)):
            changed += sum(await asyncio.gather(*[self._copy_one(counter, spent) for counter, spent in chunk]))
            done += len(chunk)
            if phase is not Phase.FOLLOWING:
                self._on_progress(Progress(phase, done=done, total=len(figures)))
        return changed

    async def _copy_one(self, counter: Counter, spent: Spent) -> bool:
        """Whether the destination booked a difference."""
        amounts = [0] * len(Unit)
        amounts[PLACES[counter.unit]] = spent.amount
        verb = Adjust(
            self.id_of(counter),
            (self.target_of(counter),),
            Amounts(*amounts),
            any_window=True,
            reason=self._reason,
            # An empty journal has the seq 0, which stands for an adjustment that happens once.
            as_of=spent.seq + 1,
        )
        answer = await self._destination.send(verb)
        if answer.status not in (Status.ADJUSTED, Status.DUPLICATE):
            raise OperationError(f"TO_URL: {counter.name} cannot be booked: {answer.status}")
        self._copied[counter] = spent
        return any(entry.reservation_id == verb.id for entry in answer.entries)

    def target_of(self, counter: Counter) -> Target:
        """OperationError for a window that the timezone does not have."""
        timezone = self._destination.settings.timezone
        try:
            return target_of(counter, timezone)
        except ValueError as error:
            raise OperationError(f"{counter.name}: {error}; set BUDGET_TIMEZONE to that of the gateways") from None


def target_of(counter: Counter, timezone: ZoneInfo) -> Target:
    """A counter as an adjustment books on it, without a limit; ValueError for a window that is none."""
    window = window_named(counter.period, counter.window, timezone=timezone)
    carry = None
    if not is_rolling(counter.period):
        # Kept until the next window is over, in case a limit carries over what this one has left.
        with suppress(ValueError):
            carry = Carry(0, 0, previous_window(window, timezone=timezone).id)
    return Target(counter.account, window, None, counter.unit, carry)
