"""Most of the ``Store`` protocol for tables within this process: each method is one transaction on an engine."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from budget_middleware.core.accounts import kind_of
from budget_middleware.core.answers import Answer, CounterProof, CounterView, Entry
from budget_middleware.core.audit import Damage, Flaw
from budget_middleware.core.model import Balance, Counter, Reservation
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Repair, Reserve, Transfer
from budget_middleware.stores.engine import Engine
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.tables import ByHand, CounterRow, Kind, Tables

_EMPTY = CounterRow(Balance(), ByHand())


class TableStore:
    """The verbs, and what operators read of them. ``transaction`` is entered for each; it may be entered again."""

    ends_when_cancelled = True

    def __init__(
        self,
        tables: Tables,
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
            now_ms = self._clock_ms()
            return [
                CounterView(counter, self._without_due(counter, row.balance, now_ms), row.by_hand.adjusted)
                for counter, row in sorted(self._tables.all_counters().items())
                if account in (None, counter.account)
            ]

    def _without_due(self, counter: Counter, balance: Balance, now_ms: int) -> Balance:
        due = sum(each.held.of(counter.unit) for each in self._tables.pending(counter) if each.is_due(now_ms))
        return Balance(balance.spent, balance.reserved - due)

    async def proofs(self) -> Sequence[CounterProof]:
        with self._transaction:
            pending: dict[Counter, list[int]] = {}
            for reservation in self._tables.pending():
                for target in reservation.targets:
                    pending.setdefault(target.counter, []).append(reservation.held[target.place])
            rows, seq = self._tables.all_counters(), self._tables.meta().seq
            # Of a counter that is gone its leases may be left, and should show.
            unwritten = {counter for counter, held in pending.items() if any(held)}
            return [
                self._proof(counter, rows.get(counter, _EMPTY), pending.get(counter, ()), seq)
                for counter in sorted({*rows, *unwritten})
            ]

    def _proof(self, counter: Counter, row: CounterRow, held: Sequence[int], seq: int) -> CounterProof:
        return CounterProof(
            counter,
            row.balance,
            row.by_hand.adjusted,
            pending=len(held),
            held=sum(held),
            seen_at_seq=seq,
        )

    async def damage(self, *, mend: bool = False) -> Sequence[Damage]:
        with self._transaction:
            lacking = {kind: -reserved for kind, reserved in self._tables.totals().items()}
            for reservation in self._tables.pending():
                for unit, account in {(target.unit, target.account) for target in reservation.targets}:
                    kind = (unit, kind_of(account))
                    lacking[kind] = lacking.get(kind, 0) + reservation.held.of(unit)
            if not any(lacking.values()):
                return []
            if mend:
                self._tables.add_to_totals(lacking.items())
            return [Damage("totals", Flaw.WRONG_TOTAL)]

    async def holds(self) -> Sequence[Reservation]:
        with self._transaction:
            now_ms = self._clock_ms()
            held = [reservation for reservation in self._tables.pending() if not reservation.is_due(now_ms)]
            return sorted(held, key=lambda reservation: (reservation.created_ms, reservation.id))

    async def reservation(self, id_: str) -> Reservation | None:
        with self._transaction:
            return self._tables.reservation(id_)

    async def reserved_by_kind(self) -> Mapping[Kind, int]:
        with self._transaction:
            return dict(self._tables.totals())

    async def journal(self, *, after_seq: int, count: int) -> Sequence[Entry]:
        with self._transaction:
            entries = (entry for step in self._tables.steps(after_seq=after_seq) for entry in step.journal_entries())
            return list(islice((entry for entry in entries if entry.seq > after_seq), count))

    async def latest(self, *, count: int, account: str | None = None) -> Sequence[Entry]:
        with self._transaction:
            steps = self._tables.steps(newest_first=True)
            entries = (entry for step in steps for entry in reversed([*step.journal_entries()]))
            return list(islice((each for each in entries if account in (None, each.counter.account)), count))[::-1]

    async def listen(self, on_freed: Callable[[Sequence[str]], object], *, on_ready: Callable[[], object]) -> None:
        """Nobody else has these counters."""

    async def aclose(self) -> None:
        """Nothing is held open."""
