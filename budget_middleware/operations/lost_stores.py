"""What a restore works from: what a lost store had booked, and what the store that answers now has of it already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budget_middleware.core.model import Counter, Target
from budget_middleware.core.statuses import Op
from budget_middleware.core.windows import FOREVER_MS
from budget_middleware.history.connections import HistoryDatabase
from budget_middleware.history.lost import Lost, booked_in_later, read_endings, read_lost
from budget_middleware.history.position import Why
from budget_middleware.history.progress import Progress, read_progress
from budget_middleware.history.restore_plan import LostEnding, RestorePlan, plan_restore
from budget_middleware.opening import retention_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.repairs import window_of
from budget_middleware.operations.values import iso

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class LostStore:
    """What the history knows of a store that is gone; ``current`` is the generation that answers now, if it has it."""

    lost: Lost
    endings: Sequence[LostEnding]
    current: Progress | None
    warnings: tuple[str, ...]


class LostStores:
    """Reads lost stores from a history, and plans what is to be booked of them."""

    def __init__(self, context: OperatorContext, database: HistoryDatabase) -> None:
        self._context = context
        self._store = context.store
        self._database = database
        self._ledger = context.settings.namespace
        self._retention = retention_of(context.settings)

    async def read(self, generation: str | None) -> LostStore:
        """That of a generation; None: the one before the store's. OperationError where there is none."""
        head = await self._store.head()
        generations = read_progress(self._database, self._ledger)
        current = generations[-1] if generations and generations[-1].store_generation == head.generation else None
        older = generations[:-1] if current else generations
        named = [each for each in older if generation in (None, each.generation)]
        if not named:
            raise OperationError(_no_generation(generations, generation, is_current=current is not None))
        lost = read_lost(self._database, self._ledger, generations, named[-1])
        kept = {
            counter: found
            for counter, found in lost.counters.items()
            if self._is_kept(counter, found.last_ms, head.now_ms)
        }
        endings = read_endings(
            self._database,
            self._ledger,
            lost,
            remember_ms=self._retention.remember_ms,
            remember_expired_ms=self._retention.remember_expired_ms,
        )
        warnings = tuple(self._warnings(lost, older))
        return LostStore(lost._replace(counters=kept), endings, current, warnings)

    def _warnings(self, lost: Lost, older: Sequence[Progress]) -> list[str]:
        gaps = self._database.fetch(
            "select why, after_seq, bookings from gaps where ledger = ? and generation = ?",
            (self._ledger, lost.progress.generation),
        )
        position = lost.progress.position
        warnings = [
            f"what was booked after {iso(position.time_ms)} (entry {position.seq}) is not in the history"
            for why, _, _ in gaps
            if why == Why.STORE_GONE
        ]
        if others := [each.generation for each in older if each.generation != lost.progress.generation]:
            warnings.append(f"earlier losses: {', '.join(others)}; if one was never restored, add --generation")
        return warnings

    def _is_kept(self, counter: Counter, last_ms: int, now_ms: int) -> bool:
        ends_ms = self.target(counter).counts_until_ms
        kept_ms = self._retention.counter_ms(counter.period)
        return ends_ms >= FOREVER_MS or max(last_ms, ends_ms) + kept_ms > now_ms

    def target(self, counter: Counter) -> Target:
        return Target(counter.account, window_of(counter, self._context), None, counter.unit)

    async def plan(self, source: LostStore) -> RestorePlan:
        since = await self._booked_since(source, [ending.id for ending in source.endings])
        return plan_restore(
            {counter: lost.spent for counter, lost in source.lost.counters.items()},
            source.endings,
            booked_since=since,
            now_ms=(await self._store.head()).now_ms,
            remember_ms=self._retention.remember_ms,
        )

    async def booked_by(self, source: LostStore, counters: Mapping[str, Counter]) -> dict[Counter, int]:
        """What adjustments, of a counter each, have come to since the loss."""
        booked = await self._booked_since(source, list(counters))
        return {counters[id_]: spent for id_, spent in booked.items()}

    async def _booked_since(self, source: LostStore, ids: Sequence[str]) -> dict[str, int]:
        """What ids have booked since the loss: by the history, and by the journal as far as that is not copied yet."""
        booked = booked_in_later(self._database, self._ledger, source.lost.progress, ids)
        after_seq, until_seq = source.current.position.seq if source.current else 0, (await self._store.head()).seq
        wanted = frozenset(ids)
        while after_seq < until_seq and (page := await self._store.journal(after_seq=after_seq, count=_PAGE)):
            for entry in page:
                if entry.op in (Op.FINALIZE, Op.ADJUST) and entry.reservation_id in wanted:
                    booked[entry.reservation_id] = booked.get(entry.reservation_id, 0) + entry.spent_delta
            after_seq = page[-1].seq
        return booked


def _no_generation(generations: Sequence[Progress], named: str | None, *, is_current: bool) -> str:
    if not generations:
        return "the history has nothing of this namespace; accepted: that of the gateways that wrote it"
    if named is not None:
        known = ", ".join(each.generation for each in generations)
        return f"{named[:40]!r} is no generation that was lost; the history has {known}"
    assert is_current, "the only generation is that of the store"
    return f"the store is the one that the history copies ({generations[-1].generation}): nothing was lost"
