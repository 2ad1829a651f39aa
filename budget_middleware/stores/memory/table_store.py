"""Most of the ``Store`` protocol for tables within this process: each method is one transaction on an engine."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from budget_middleware.core.answers import Answer, CounterProof, CounterView, Entry
from budget_middleware.core.damage import Damage
from budget_middleware.core.model import Reservation
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Repair, Reserve, Transfer
from budget_middleware.stores.engine.engine import Engine
from budget_middleware.stores.engine.table_reads import (
    counter_proofs,
    counter_views,
    entries_after,
    latest_entries,
    live_holds,
)
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.tables import BrowsableTables, Kind


class TableStore:
    """The verbs, and what operators read of them. ``transaction`` is entered for each; it may be entered again."""

    ends_when_cancelled = True

    def __init__(
        self,
        tables: BrowsableTables,
        *,
        transaction: AbstractContextManager[Any],
        retention: Retention,
        clock_ms: Callable[[], int],
    ) -> None:
        self._tables = tables
        self._transaction = transaction
        self._retention = retention
        self._clock_ms = clock_ms
        self._engine = Engine(tables, retention)

    def is_silent(self) -> bool:
        return True

    async def reserve(self, verb: Reserve) -> Answer:
        with self._transaction:
            return self._engine.reserve(verb, now_ms=self._clock_ms())

    async def finalize(self, verb: Finalize) -> Answer:
        with self._transaction:
            return self._engine.finalize(verb, now_ms=self._clock_ms())

    async def release(self, verb: Release) -> Answer:
        with self._transaction:
            return self._engine.release(verb, now_ms=self._clock_ms())

    async def extend(self, verb: Extend) -> Answer:
        with self._transaction:
            return self._engine.extend(verb, now_ms=self._clock_ms())

    async def grow(self, verb: Grow) -> Answer:
        with self._transaction:
            return self._engine.grow(verb, now_ms=self._clock_ms())

    async def expire(self, verb: Expire) -> Answer:
        with self._transaction:
            return self._engine.expire(verb, now_ms=self._clock_ms())

    async def adjust(self, verb: Adjust) -> Answer:
        with self._transaction:
            return self._engine.adjust(verb, now_ms=self._clock_ms())

    async def transfer(self, verb: Transfer) -> Answer:
        with self._transaction:
            return self._engine.transfer(verb, now_ms=self._clock_ms())

    async def repair(self, verb: Repair) -> Answer:
        with self._transaction:
            return self._engine.repair(verb, now_ms=self._clock_ms())

    async def sweep(self, *, at_most: int, trace: str = "") -> Answer:
        with self._transaction:
            return self._engine.sweep(at_most=at_most, trace=trace, now_ms=self._clock_ms())

    async def head(self) -> Answer:
        with self._transaction:
            return self._engine.head(now_ms=self._clock_ms())

    async def check(self) -> None:
        """It can do everything."""

    # What operators read.

    async def counters(self, account: str | None = None) -> Sequence[CounterView]:
        with self._transaction:
            rows = {
                counter: row
                for counter, row in self._tables.all_counters().items()
                if account in (None, counter.account)
            }
            return counter_views(rows, self._tables.pending(), now_ms=self._clock_ms())

    async def proofs(self) -> Sequence[CounterProof]:
        with self._transaction:
            seq = self._tables.meta.seq
            return counter_proofs(self._tables.all_counters(), self._tables.pending(), seq=seq)

    async def damage(self, *, mend: bool = False) -> Sequence[Damage]:  # noqa: ARG002 - others have something to mend
        """Nothing follows from other records here that could be wrong."""
        return []

    async def holds(self) -> Sequence[Reservation]:
        with self._transaction:
            return live_holds(self._tables.pending(), now_ms=self._clock_ms())

    async def reservation(self, id_: str) -> Reservation | None:
        with self._transaction:
            return self._tables.reservation(id_)

    async def reserved_by_kind(self) -> Mapping[Kind, int]:
        with self._transaction:
            return self._tables.reserved_by_kind()

    async def journal(self, *, after_seq: int, count: int) -> Sequence[Entry]:
        with self._transaction:
            return entries_after(self._tables.steps(after_seq=after_seq), after_seq, count=count)

    async def latest(self, *, count: int, account: str | None = None) -> Sequence[Entry]:
        with self._transaction:
            return latest_entries(self._tables.steps(newest_first=True), count=count, account=account)

    async def listen(self, on_freed: Callable[[Sequence[str]], object], *, on_ready: Callable[[], object]) -> None:
        """Nobody else has these counters."""

    async def aclose(self) -> None:
        """Nothing is held open."""
