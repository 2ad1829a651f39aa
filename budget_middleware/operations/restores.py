"""Restores what a lost store had booked, from the history, while gateways may run on: see `history.restore_plan`.

What was reserved when the store was lost is not restored: its requests end in the new store, by themselves. Windows
that no store would keep any more are left out. What is restored counts as *adjusted*, for it came by an operator.
"""

import asyncio
import hashlib
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from budget_middleware.core.model import Counter
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Adjust, Finalize
from budget_middleware.core.windows import Period
from budget_middleware.history.booking_rows import RESTORE_REASON
from budget_middleware.history.connections import HistoryDatabase, open_database
from budget_middleware.history.limits import limits_as_of
from budget_middleware.history.progress import Progress
from budget_middleware.history.restore_plan import LostEnding, RestorePlan
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.history_state import history_faults_named
from budget_middleware.operations.lost_stores import LostStore, LostStores
from budget_middleware.operations.values import Figure, figure, iso
from budget_middleware.operations.wording import counted
from budget_middleware.stores.notes import Topic
from budget_middleware.stores.runtime_limits import KnownLimits, LimitValue

_AT_ONCE = 64
_PATTERNS_AT_ONCE = 200

OnProgress = Callable[[int, int], object]
"""Called with how many of how many bookings are done."""


@dataclass(frozen=True, slots=True)
class RestoredRow:
    """A counter: what it shows without what was lost, what is added, and what it shows then."""

    account: str
    period: Period
    window: str
    unit: Unit
    spent: Figure
    restored: Figure
    spent_after: Figure


@dataclass(frozen=True, slots=True)
class Restoration:
    """What was restored, or would be. ``until`` is the time of the last entry that the history has."""

    generation: str
    until: str
    counters: tuple[RestoredRow, ...]
    endings: int
    limits: int
    warnings: tuple[str, ...]


async def restore(
    context: OperatorContext,
    *,
    generation: str | None = None,
    is_live: bool = False,
    is_dry_run: bool = False,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Restoration:
    """Book what the store of a generation (the one before this) had booked, each nano-dollar once.

    OperationError where there is no history, nothing was lost, or, unless ``is_live``, the store has counters. It may
    be interrupted, and done again.
    """
    if not context.settings.history_url:
        raise OperationError("BUDGET_HISTORY_URL is not set: there is no history to restore from")
    with history_faults_named(), closing(open_database(context.settings.history_url, for_reading=True)) as database:
        work = _Restore(context, database, on_progress)
        return await work.run(generation, is_live=is_live, is_dry_run=is_dry_run)


class _Restore:
    def __init__(self, context: OperatorContext, database: HistoryDatabase, on_progress: OnProgress) -> None:
        self._context = context
        self._store = context.store
        self._database = database
        self._ledger = context.settings.namespace
        self._stores = LostStores(context, database)
        self._on_progress = on_progress
        self._as_of = 0

    async def run(self, generation: str | None, *, is_live: bool, is_dry_run: bool) -> Restoration:
        lost = await self._stores.read(generation)
        await self._require_lost(lost)
        before = {view.counter: view.balance.spent for view in await self._store.counters()}
        if any(before.values()) and not (is_live or is_dry_run):
            raise OperationError(
                f"the store has {counted(sum(map(bool, before.values())), 'counter')} already; add --live to restore"
                " below what gateways have booked there since, or --dry-run to look first"
            )
        plans = await self._stores.plans(lost)
        # Runtime limits are those of the main shard.
        limits = [
            (each.progress, limits_as_of(self._database, each.ledger, number=each.progress.number))
            for each in lost
            if each.ledger == self._ledger
        ]
        restoration = await self._restoration(lost, plans, before, n_limits=sum(len(each) for _, each in limits))
        if not is_dry_run:
            for progress, values in limits:
                await self._write_back(progress, values)
            while await self._book(lost, plans):
                # Some endings have grown too old to be sent again: they become part of the sums.
                plans = await self._stores.plans(lost)
        return restoration

    async def _require_lost(self, lost: Sequence[LostStore]) -> None:
        """OperationError for what a migration has brought: the adjustments of both would add up."""
        migrated = {note.text for note in await self._store.notes() if note.topic is Topic.MIGRATION}
        if brought := migrated & {each.progress.store_generation for each in lost}:
            raise OperationError(
                f"generation {brought.pop()} was migrated to this store with all that it had booked: nothing was lost"
            )

    async def _book(self, lost: Sequence[LostStore], plans: Sequence[RestorePlan]) -> bool:
        """Whether some endings were too old."""
        now_ms = (await self._store.head()).now_ms
        self._as_of = max(now_ms, self._as_of + 1)
        sums = [
            self._adjust(each.progress, counter, amount)
            for each, plan in zip(lost, plans, strict=True)
            for counter, amount in plan.sums.items()
        ]
        again = [self._again(ending, now_ms) for ending in _whole(plans)]
        total, done, at_once = len(sums) + len(again), 0, asyncio.Semaphore(_AT_ONCE)

        async def send(verb: Adjust | Finalize) -> Status:
            nonlocal done
            async with at_once:
                answer = await self._context.ledger.sender.send(verb)
            done += 1
            self._on_progress(done, total)
            return answer.status

        # Sums first: they are most of the money, and it is missing on its limits until then.
        await asyncio.gather(*map(send, sums))
        return Status.TOO_OLD in await asyncio.gather(*map(send, again))

    def _adjust(self, lost: Progress, counter: Counter, amount: int) -> Adjust:
        return Adjust(
            _id_of(lost, counter),
            (self._stores.target(counter),),
            Amounts(**{str(counter.unit): amount}),
            any_window=True,
            reason=f"{RESTORE_REASON}: generation {lost.generation} up to entry {lost.position.seq}",
            as_of=self._as_of,
        )

    def _again(self, ending: LostEnding, now_ms: int) -> Adjust | Finalize:
        amounts = ending.amounts
        assert amounts is not None, "others are part of the sums"
        targets = tuple(map(self._stores.target, ending.total))
        if ending.is_correction:
            return Adjust(ending.id, targets, amounts, any_window=True, reason=RESTORE_REASON, bill=ending.bill)
        age_ms = max(0, now_ms - ending.time_ms)
        return Finalize(
            ending.id, targets, amounts, age_ms, reason=RESTORE_REASON, wants_entries=False, bill=ending.bill
        )

    async def _write_back(self, lost: Progress, limits: Mapping[tuple[str, str], LimitValue]) -> None:
        """Set what the store has nothing newer of: gateways write back what they know, too."""
        by_pattern: dict[str, dict[str, LimitValue]] = {}
        for (pattern, field), value in limits.items():
            by_pattern.setdefault(pattern, {})[field] = value
        patterns = list(by_pattern)
        for at in range(0, len(patterns), _PATTERNS_AT_ONCE):
            some = {pattern: by_pattern[pattern] for pattern in patterns[at : at + _PATTERNS_AT_ONCE]}
            await self._store.write_back_limits(KnownLimits(lost.store_generation, max(0, lost.limits_version), some))

    async def _restoration(
        self, lost: Sequence[LostStore], plans: Sequence[RestorePlan], before: Mapping[Counter, int], *, n_limits: int
    ) -> Restoration:
        ids = {_id_of(each.progress, counter): counter for each in lost for counter in each.lost.counters}
        restored_before = await self._stores.booked_since(list(ids))
        added = Tally[Counter]()
        for plan in plans:
            added.update(plan.sums)
            for ending in plan.sent_again:
                added.update(ending.lost)
        for booked in restored_before.values():
            added.subtract(booked)
        last = max(lost, key=lambda each: each.progress.position.time_ms).progress
        return Restoration(
            ", ".join(dict.fromkeys(each.progress.generation for each in lost)),
            iso(last.position.time_ms),
            tuple(_row(counter, before.get(counter, 0), added[counter]) for counter in sorted(added) if added[counter]),
            endings=len(_whole(plans)),
            limits=n_limits,
            warnings=tuple(dict.fromkeys(warning for each in lost for warning in each.warnings)),
        )


def _whole(plans: Iterable[RestorePlan]) -> list[LostEnding]:
    """The endings that are sent again; the parts of one that several shards had are one again."""
    by_id: dict[str, LostEnding] = {}
    for plan in plans:
        for ending in plan.sent_again:
            known = by_id.get(ending.id)
            by_id[ending.id] = ending._replace(total={**known.total, **ending.total}) if known else ending
    return list(by_id.values())


def _id_of(lost: Progress, counter: Counter) -> str:
    """The id of the one adjustment that stands for what a generation had booked on a counter."""
    return hashlib.sha256(f"{RESTORE_REASON} {lost.generation} {counter.name}".encode()).hexdigest()[:32]


def _row(counter: Counter, before: int, added: int) -> RestoredRow:
    unit = counter.unit
    return RestoredRow(
        *counter, spent=figure(before, unit), restored=figure(added, unit), spent_after=figure(before + added, unit)
    )
