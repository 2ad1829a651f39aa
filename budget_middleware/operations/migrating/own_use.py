"""Holds at the source what the destination has spent and holds by itself, so that the source's limits bind both.

It is held, never booked: the source's *spent* stays what its own gateways have booked, which is what is copied. There
is one reservation for each counter, replaced by another when its amount changes (both are voided in the source's
journal), and none outlives the migration for longer than a lease.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from secrets import token_hex

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Counter, Reservation, Target, series_of
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import PLACES, Amounts, Unit
from budget_middleware.core.verbs import Release
from budget_middleware.core.windows import is_rolling, window_at
from budget_middleware.operations.migrating.counters import CounterCopy
from budget_middleware.operations.migrating.following import Journals
from budget_middleware.operations.migrating.placing import RENEWED_S, Placing
from budget_middleware.operations.migrating.renaming import Renaming
from budget_middleware.operations.migrating.sides import Side

_REASON = "migrated: the new store's own use has changed"


@dataclass(frozen=True, slots=True)
class _Held:
    id: str
    amount: int
    renewed_at: float


class OwnUse:
    """What is held at the source for the destination's own use."""

    def __init__(self, source: Side, destination: Side, renaming: Renaming, counters: CounterCopy) -> None:
        self._source = source
        self._destination = destination
        self._renaming = renaming
        self._counters = counters
        self._placing = Placing(source)
        self._journals: Journals | None = None
        # By counters of the destination, where it is not 0; as of which seq it was counted.
        self._spent: dict[Counter, int] = {}
        self._counted_at: dict[Counter, int] = {}
        self._held: dict[Counter, _Held] = {}
        # So that the holds of an earlier run are known too.
        self._mark = sha256(f"own use {counters.generation}".encode()).hexdigest()[:8]

    def is_ours(self, id_: str) -> bool:
        """Whether a reservation of the source is one of these."""
        return id_.endswith(self._mark)

    async def give_back_strays(self, holds: Sequence[Reservation]) -> None:
        """What an earlier run, that was cut off, has left pending at the source."""
        known = {held.id for held in self._held.values()}
        strays = [hold.id for hold in holds if self.is_ours(hold.id) and hold.id not in known]
        await asyncio.gather(*map(self._release, strays))

    async def count_anew(self) -> None:
        """From the destination's counters; all that was copied must be booked there."""
        destination, copied = self._destination, self._counters.copied
        self._journals = await Journals.of(destination, from_now_on=True)
        proofs = await destination.ask(destination.store.proofs)
        self._counted_at = {proof.counter: proof.seen_at_seq for proof in proofs}
        own = {
            proof.counter: proof.balance.spent - (copied[proof.counter].amount if proof.counter in copied else 0)
            for proof in proofs
        }
        self._spent = {counter: spent for counter, spent in own.items() if spent}

    async def follow(self, own_holds: Sequence[Reservation]) -> None:
        """Take up what the destination's journal has, and hold what it all comes to."""
        assert self._journals is not None, "it is counted first"
        async for page in self._journals.pages():
            for entry in page:
                self._count(entry)
        if self._journals.take_lack():
            await self.count_anew()
        await self._hold(own_holds)

    def _count(self, entry: Entry) -> None:
        counter = entry.counter
        is_counted = entry.seq <= self._counted_at.get(counter, 0)
        if entry.spent_delta and not is_counted and entry.reservation_id != self._counters.id_of(counter):
            self._spent[counter] = self._spent.get(counter, 0) + entry.spent_delta

    async def _hold(self, own_holds: Sequence[Reservation]) -> None:
        await self._placing.look()
        wanted = self._wanted(own_holds)
        series = {*wanted, *self._held}
        await asyncio.gather(*[self._hold_one(each, wanted.get(each, 0)) for each in series])

    def _wanted(self, own_holds: Sequence[Reservation]) -> dict[Counter, int]:
        """By counters of the source, buckets of a rolling period together."""
        sums: defaultdict[Counter, int] = defaultdict(int)
        for counter, spent in self._spent.items():
            if self._counts(self._counters.target_of(counter)):
                sums[self._source_series(counter)] += spent
        for hold in own_holds:
            for target in hold.targets:
                if self._counts(target):
                    sums[self._source_series(target.counter)] += hold.held[target.place]
        return {series: amount for series, amount in sums.items() if amount > 0}

    def _counts(self, target: Target) -> bool:
        """Whether a limit looks at it now."""
        window, now_ms = target.window, self._placing.now_ms
        until_ms = target.counts_until_ms if is_rolling(window.period) else window.ends_ms
        return window.starts_ms <= now_ms < until_ms

    def _source_series(self, counter: Counter) -> Counter:
        return series_of(counter._replace(account=self._renaming.original(counter.account)))

    async def _hold_one(self, series: Counter, amount: int) -> None:
        held, now = self._held.get(series), asyncio.get_running_loop().time()
        if held is not None and held.amount == amount:
            if now - held.renewed_at < RENEWED_S:
                return
            if (await self._placing.renew(held.id)).status is Status.EXTENDED:
                self._held[series] = _Held(held.id, amount, now)
                return
        # The new one first: what is held twice for a moment is safer than what is not held.
        self._held.pop(series, None)
        if amount:
            id_ = token_hex(12) + self._mark
            answer = await self._placing.reserve(id_, partial(self._targets_of, series), _amounts(series.unit, amount))
            if answer is not None and answer.status is Status.RESERVED:
                self._held[series] = _Held(id_, amount, now)
        if held is not None:
            await self._release(held.id)

    def _targets_of(self, series: Counter, now_ms: int) -> tuple[Target, ...]:
        window = window_at(series.period, time_ms=now_ms, timezone=self._source.settings.timezone)
        is_current = is_rolling(series.period) or window.id == series.window
        return (Target(series.account, window, None, series.unit),) if is_current else ()

    async def give_back(self) -> None:
        """All of it, at the end."""
        await asyncio.gather(*[self._release(held.id) for held in self._held.values()])
        self._held.clear()

    async def _release(self, id_: str) -> None:
        await self._source.send(Release(id_, reason=_REASON, wants_entries=False))


def _amounts(unit: Unit, amount: int) -> Amounts:
    amounts = [0] * len(Unit)
    amounts[PLACES[unit]] = amount
    return Amounts(*amounts)
