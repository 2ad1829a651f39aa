"""What a restore works from: what a lost store had booked, and what the store that answers now has of it already."""

from collections.abc import Sequence
from dataclasses import dataclass

from budget_middleware.core.model import Counter, Target
from budget_middleware.core.statuses import Op
from budget_middleware.core.windows import FOREVER_MS
from budget_middleware.history.connections import HistoryDatabase
from budget_middleware.history.ledgers import ledger_of
from budget_middleware.history.lost import Booked, Lost, booked_in_later, read_endings, read_lost
from budget_middleware.history.position import Why
from budget_middleware.history.progress import Progress, read_progress
from budget_middleware.history.restore_plan import EVERYTHING, LostEnding, RestorePlan, plan_restore
from budget_middleware.opening import retention_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.journal import pages_of
from budget_middleware.operations.repairs import window_of
from budget_middleware.operations.values import iso
from budget_middleware.stores.base import Store
from budget_middleware.stores.journals import journals_of


@dataclass(frozen=True, slots=True)
class LostStore:
    """What the history knows of a ledger's store that is gone."""

    ledger: str
    lost: Lost
    endings: Sequence[LostEnding]
    warnings: tuple[str, ...]

    @property
    def progress(self) -> Progress:
        return self.lost.progress


@dataclass(frozen=True, slots=True)
class _Journal:
    """A journal as it is now. The history has it up to ``copied_seq``; generations after ``number`` are not lost."""

    ledger: str
    store: Store
    copied_seq: int
    number: int


class LostStores:
    """Reads lost stores from a history, one or those of several shards, and plans what is to be booked of them."""

    def __init__(self, context: OperatorContext, database: HistoryDatabase) -> None:
        self._context = context
        self._database = database
        self._retention = retention_of(context.settings)
        self._journals: list[_Journal] = []

    async def read(self, generation: str | None) -> list[LostStore]:
        """Those of a generation; None: the one before the store's. OperationError where nothing was lost."""
        found: list[LostStore] = []
        why_not = ""
        for name, store in (await journals_of(self._context.store)).items():
            ledger, head = ledger_of(self._context.settings.namespace, name), await store.head()
            generations = read_progress(self._database, ledger)
            is_current = bool(generations) and generations[-1].store_generation == head.generation
            older = generations[:-1] if is_current else generations
            named = [each for each in older if generation in (None, each.generation)]
            copied_seq = generations[-1].position.seq if is_current else 0
            number = named[-1].number if named else older[-1].number if older else 0
            self._journals.append(_Journal(ledger, store, copied_seq, number))
            if named:
                found.append(self._read(ledger, generations, named[-1], older, now_ms=head.now_ms))
            else:
                why_not = why_not or _no_generation(generations, generation)
        if not found:
            raise OperationError(why_not)
        return found

    def _read(
        self, ledger: str, generations: Sequence[Progress], of: Progress, older: Sequence[Progress], *, now_ms: int
    ) -> LostStore:
        lost = read_lost(self._database, ledger, generations, of)
        kept = {
            counter: found for counter, found in lost.counters.items() if self._is_kept(counter, found.last_ms, now_ms)
        }
        endings = read_endings(
            self._database,
            ledger,
            lost,
            remember_ms=self._retention.remember_ms,
            remember_expired_ms=self._retention.remember_expired_ms,
        )
        return LostStore(ledger, lost._replace(counters=kept), endings, tuple(self._warnings(ledger, lost, older)))

    def _warnings(self, ledger: str, lost: Lost, older: Sequence[Progress]) -> list[str]:
        gaps = self._database.fetch(
            "select why from gaps where ledger = ? and generation = ?", (ledger, lost.progress.generation)
        )
        position = lost.progress.position
        warnings = [
            f"what was booked in {ledger} after {iso(position.time_ms)} (entry {position.seq}) is not in the history"
            for (why,) in gaps
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

    async def plans(self, lost: Sequence[LostStore]) -> list[RestorePlan]:
        """What is to be booked of each."""
        booked = await self.booked_since([ending.id for each in lost for ending in each.endings])
        is_one = len(self._journals) == 1
        return [
            plan_restore(
                {counter: found.spent for counter, found in each.lost.counters.items()},
                each.endings,
                booked_since={id_: EVERYTHING if is_one else counters for id_, counters in booked.items()},
                now_ms=(await self._context.store.head()).now_ms,
                remember_ms=self._retention.remember_ms,
            )
            for each in lost
        ]

    async def booked_since(self, ids: Sequence[str]) -> Booked:
        """What ids have booked since the loss: by the history, and by journals as far as they are not copied yet."""
        booked: Booked = {}
        wanted = frozenset(ids)
        for journal in self._journals:
            later = booked_in_later(self._database, journal.ledger, number=journal.number, ids=ids)
            for id_, counters in later.items():
                booked.setdefault(id_, {}).update(counters)
            async for page in pages_of(journal.store, "", after_seq=journal.copied_seq):
                for entry in page:
                    if entry.op in (Op.FINALIZE, Op.ADJUST) and entry.reservation_id in wanted:
                        of_id = booked.setdefault(entry.reservation_id, {})
                        of_id[entry.counter] = of_id.get(entry.counter, 0) + entry.spent_delta
        return booked


def _no_generation(generations: Sequence[Progress], named: str | None) -> str:
    if not generations:
        return "the history has nothing of this namespace; accepted: that of the gateways that wrote it"
    if named is not None:
        known = ", ".join(each.generation for each in generations)
        return f"{named[:40]!r} is no generation that was lost; the history has {known}"
    return f"the store is the one that the history copies ({generations[-1].generation}): nothing was lost"
