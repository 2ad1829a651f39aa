"""The executable specification: ``core.transitions`` over dictionaries, one lock, one process."""

import heapq
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from budget_middleware.core import transitions
from budget_middleware.core.accounts import canonical_pattern, kind_of
from budget_middleware.core.audit import Damage, Flaw
from budget_middleware.core.model import (
    TELLS_RECORDED,
    Adjust,
    Adjustment,
    Answer,
    Balance,
    Counter,
    CounterProof,
    CounterView,
    Entry,
    Expire,
    Extend,
    Finalize,
    Op,
    Release,
    Repair,
    Reservation,
    Reserve,
    State,
    Status,
    Target,
)
from budget_middleware.core.refusals import LoggedRefusal
from budget_middleware.core.transitions import Decision, Posting
from budget_middleware.core.windows import FOREVER_MS, Period
from budget_middleware.stores.base import (
    LIMITS_PAGE,
    SWEPT_PER_VERB,
    KnownLimits,
    LimitNews,
    LimitsPage,
    Note,
    Retention,
    RuntimeLimits,
    Topic,
    WrittenBack,
)
from budget_middleware.stores.limit_table import LimitTable
from budget_middleware.stores.packing import pack_targets, with_bill
from budget_middleware.stores.records import Records
from budget_middleware.stores.steps import Journal

_Key = TypeVar("_Key", bound=Hashable)


class Deadlines(Generic[_Key]):
    """Keys by the time at which they are due, then by themselves, as a sorted set of Redis has them.

    A moved or discarded key leaves a stale heap item behind.
    """

    def __init__(self) -> None:
        self._times: dict[_Key, int] = {}
        self._heap: list[tuple[int, _Key]] = []

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[_Key]:
        return iter(self._times)

    def set(self, key: _Key, time_ms: int) -> None:
        if self._times.get(key) == time_ms:
            return
        self._times[key] = time_ms
        heapq.heappush(self._heap, (time_ms, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._times):
            self._heap = [(at, key) for key, at in self._times.items()]
            heapq.heapify(self._heap)

    def discard(self, key: _Key) -> None:
        self._times.pop(key, None)

    def first_due(self, now_ms: int) -> _Key | None:
        while self._heap and self._heap[0][0] <= now_ms:
            time_ms, key = self._heap[0]
            if self._times.get(key) == time_ms:
                return key
            heapq.heappop(self._heap)
        return None


class MemoryStore:
    """Counters of this process only; they are forgotten when it ends.

    ``clock_ms`` is the store's clock (milliseconds since the Unix epoch); tests pass one that they can move.
    """

    def __init__(self, retention: Retention | None = None, *, clock_ms: Callable[[], int] | None = None) -> None:
        self._retention = retention or Retention()
        self._clock_ms = clock_ms or (lambda: time.time_ns() // 1_000_000)
        # One ledger may serve several event loops, each in a thread of its own.
        self._lock = threading.Lock()
        self._generation = secrets.token_hex(8)
        self._limits = LimitTable(changes_max=self._retention.limit_changes_max)
        self._balances: dict[Counter, Balance] = {}
        self._adjusted: dict[Counter, int] = {}
        self._repaired_at_seq: dict[Counter, int] = {}
        self._reservations = Records()
        self._adjustments: dict[str, Adjustment] = {}
        self._reserved_by_kind: defaultdict[str, int] = defaultdict(int)
        self._journal = Journal(self._retention.journal_max)
        # By the id of what is pending, the seq of its reserve; until when records of what came to nothing are kept.
        self._reserved_at: dict[str, int] = {}
        self._forget_voided_ms = 0
        self._notes: dict[tuple[Topic, str], int] = {}
        self._refusals: deque[LoggedRefusal] = deque(maxlen=self._retention.refusals_max)
        self._leases: Deadlines[str] = Deadlines()
        self._pending: defaultdict[Counter, Deadlines[str]] = defaultdict(Deadlines)
        self._forget_reservations: Deadlines[str] = Deadlines()
        self._forget_adjustments: Deadlines[str] = Deadlines()
        self._forget_counters: Deadlines[Counter] = Deadlines()

    # The verbs. Each expires the reservation it names if it is due, then some due ones on its counters.

    async def reserve(self, verb: Reserve) -> Answer:
        with self._lock:
            call = _Call(self, verb.trace, wants_entries=verb.wants_entries)
            known = call.open(verb.id, verb.targets)
            decision = transitions.reserve(
                known,
                verb,
                balances=self._balances_of(verb.targets),
                limits_version=self._limits.version,
                leases_due=call.leases_due(verb.targets),
                now_ms=call.now_ms,
            )
            call.apply(Op.RESERVE, verb.id, decision)
            targets = decision.becomes.targets if decision.becomes else known.targets if known else ()
            return call.answer(decision, verb.id, targets=targets)

    async def finalize(self, verb: Finalize) -> Answer:
        with self._lock:
            call = _Call(self, verb.trace, wants_entries=verb.wants_entries)
            known = call.open(verb.id, verb.targets)
            decision = transitions.finalize(known, verb, remember_ms=self._retention.remember_ms)
            call.apply(Op.FINALIZE, verb.id, decision, with_bill(verb.reason, verb.bill))
            targets = (decision.becomes or known or _NOTHING).targets
            return call.answer(decision, verb.id, targets=targets)

    async def release(self, verb: Release) -> Answer:
        with self._lock:
            call = _Call(self, verb.trace, wants_entries=verb.wants_entries)
            known = call.open(verb.id)
            decision = transitions.release(known, verb, remember_ms=self._retention.remember_ms)
            call.apply(Op.RELEASE, verb.id, decision, verb.reason)
            return call.answer(decision, verb.id, targets=(decision.becomes or known or _NOTHING).targets)

    async def extend(self, verb: Extend) -> Answer:
        with self._lock:
            call = _Call(self, verb.trace)
            decision = transitions.extend(call.open(verb.id), verb, now_ms=call.now_ms)
            call.apply(Op.RESERVE, verb.id, decision)
            return call.answer(decision, verb.id)

    async def expire(self, verb: Expire) -> Answer:
        with self._lock:
            call = _Call(self, verb.trace)
            decision = transitions.expire_now(call.open(verb.id))
            call.apply(Op.EXPIRE, verb.id, decision, verb.reason)
            return call.answer(decision, verb.id)

    async def adjust(self, verb: Adjust) -> Answer:
        with self._lock:
            call = _Call(self, verb.trace)
            call.expire_due_on(verb.targets)
            decision = transitions.adjust(self._adjustments.get(verb.id), verb, now_ms=call.now_ms)
            if decision.status is Status.ADJUSTED:
                self._adjustments[verb.id] = Adjustment(verb.id, verb.targets, verb.amount_nanos)
                self._forget_adjustments.set(verb.id, call.now_ms + self._retention.remember_ms)
                call.apply(Op.ADJUST, verb.id, decision, with_bill(verb.reason, verb.bill))
            return call.answer(decision, targets=verb.targets)

    async def repair(self, verb: Repair) -> Answer:
        with self._lock:
            call = _Call(self, verb.trace)
            counter = verb.target.counter
            if self._repaired_at_seq.get(counter, 0) > verb.found_at_seq:
                return call.answer(Decision(Status.DUPLICATE), targets=(verb.target,))
            lacks = self._pending_nanos(counter) - self._balance(counter).reserved_nanos
            decision = Decision(Status.REPAIRED, postings=(Posting(verb.target, verb.spent_nanos, lacks),))
            self._repaired_at_seq[counter] = self._seq + 1
            call.apply(Op.ADJUST, verb.id, decision, verb.reason)
            # The journal has led *spent*; a part of it that is more than the whole is not so.
            self._adjusted[counter] = min(self._adjusted.get(counter, 0), self._balance(counter).spent_nanos)
            return call.answer(decision, targets=(verb.target,))

    async def sweep(self, *, at_most: int, trace: str = "") -> Answer:
        with self._lock:
            call = _Call(self, trace)
            for _ in range(at_most):
                due = self._leases.first_due(call.now_ms)
                if due is None:
                    return call.answer(Decision(Status.EXPIRED))
                call.expire_due(self._reservations[due])
            return call.answer(Decision(Status.LEASES_DUE))

    # Limits that operators set at run time.

    async def limits(self) -> RuntimeLimits:
        with self._lock:
            return RuntimeLimits(self._limits.version, dict(self._limits.limits))

    async def limits_page(self, cursor: int = 0) -> LimitsPage:
        with self._lock:
            page = dict(islice(self._limits.limits.items(), cursor, cursor + LIMITS_PAGE))
            is_last = cursor + LIMITS_PAGE >= len(self._limits.limits)
            return LimitsPage(0 if is_last else cursor + LIMITS_PAGE, page, ())

    async def limit_news(self, patterns: Sequence[str], *, since_version: int) -> LimitNews:
        with self._lock:
            return self._limits.news(patterns, since_version=since_version, generation=self._generation)

    async def index_limits(self) -> bool:
        return True

    async def write_back_limits(self, known: KnownLimits) -> WrittenBack:
        with self._lock:
            return self._limits.write_back(
                known, generation=self._generation, token=secrets.token_hex(8), now_ms=self._clock_ms()
            )

    async def set_limit(self, account: str, *, period: Period, limit_nanos: int | None) -> int:
        with self._lock:
            return self._limits.set((canonical_pattern(account), period), limit_nanos, now_ms=self._clock_ms())

    async def clear_limit(self, account: str, *, period: Period | None) -> int:
        pattern = canonical_pattern(account)
        keys = [(pattern, each) for each in (Period if period is None else (period,))]
        with self._lock:
            return self._limits.clear(keys, now_ms=self._clock_ms())

    # What operators read.

    async def check(self) -> None:
        """It can do everything."""

    async def head(self) -> Answer:
        with self._lock:
            return _Call(self, "").answer(Decision(Status.UNKNOWN))

    async def counters(self, account: str | None = None) -> Sequence[CounterView]:
        with self._lock:
            now_ms = self._clock_ms()
            return [
                CounterView(counter, self._without_due(counter, balance, now_ms), self._adjusted.get(counter, 0))
                for counter, balance in sorted(self._balances.items())
                if account in (None, counter.account)
            ]

    def _without_due(self, counter: Counter, balance: Balance, now_ms: int) -> Balance:
        pending = (self._reservations[id_] for id_ in self._pending.get(counter, ()))
        due = sum(reservation.held_nanos for reservation in pending if reservation.is_due(now_ms))
        return balance._replace(reserved_nanos=balance.reserved_nanos - due)

    async def proofs(self) -> Sequence[CounterProof]:
        with self._lock:
            unwritten = {counter for counter in self._pending if self._pending_nanos(counter)}
            return [
                CounterProof(
                    counter,
                    self._balance(counter),
                    self._adjusted.get(counter, 0),
                    pending=len(self._pending.get(counter, ())),
                    pending_nanos=self._pending_nanos(counter),
                    seen_at_seq=self._seq,
                )
                for counter in sorted({*self._balances, *unwritten})
            ]

    def _pending_nanos(self, counter: Counter) -> int:
        return sum(self._reservations[id_].held_nanos for id_ in self._pending.get(counter, ()))

    async def damage(self, *, mend: bool = False) -> Sequence[Damage]:
        with self._lock:
            held: defaultdict[str, int] = defaultdict(int)
            for id_ in self._leases:
                for account in {target.account for target in self._reservations[id_].targets}:
                    held[kind_of(account)] += self._reservations[id_].held_nanos
            totals = self._reserved_by_kind
            if all(held[kind] == totals[kind] for kind in {*held, *totals}):
                return []
            if mend:
                self._reserved_by_kind = held
            return [Damage("totals", Flaw.WRONG_TOTAL)]

    async def holds(self) -> Sequence[Reservation]:
        with self._lock:
            now_ms = self._clock_ms()
            pending = (self._reservations[id_] for id_ in self._leases)
            held = [reservation for reservation in pending if not reservation.is_due(now_ms)]
            return sorted(held, key=lambda reservation: (reservation.created_ms, reservation.id))

    async def reservation(self, id_: str) -> Reservation | None:
        with self._lock:
            return self._reservations.get(id_)

    async def reserved_by_kind(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._reserved_by_kind)

    async def journal(self, *, after_seq: int, count: int) -> Sequence[Entry]:
        with self._lock:
            return list(islice(self._journal.after(after_seq), count))

    async def latest(self, *, count: int, account: str | None = None) -> Sequence[Entry]:
        with self._lock:
            found = (each for each in self._journal.backwards() if account in (None, each.counter.account))
            return list(islice(found, count))[::-1]

    async def note(self, topic: Topic, text: str) -> None:
        with self._lock:
            self._notes[topic, text] = self._clock_ms()

    async def notes(self) -> Sequence[Note]:
        with self._lock:
            since_ms = self._clock_ms() - self._retention.counters_ms
            kept = [Note(topic, text, at_ms) for (topic, text), at_ms in self._notes.items() if at_ms > since_ms]
            return sorted(kept, key=lambda note: (note.topic, note.text))

    async def neighbours(self) -> Sequence[str]:
        return ()

    async def note_refusals(self, refusals: Sequence[LoggedRefusal]) -> None:
        with self._lock:
            self._refusals.extend(refusals)

    async def refusals(self) -> Sequence[LoggedRefusal]:
        with self._lock:
            since_ms = self._clock_ms() - self._retention.counters_ms
            kept = [refusal for refusal in self._refusals if refusal.time_ms > since_ms]
            return sorted(kept, key=lambda refusal: refusal.time_ms)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _balance(self, counter: Counter) -> Balance:
        return self._balances.get(counter, _EMPTY)

    def _balances_of(self, targets: Sequence[Target]) -> list[Balance]:
        return [self._balances.get(target.counter, _EMPTY) for target in targets]

    @property
    def _seq(self) -> int:
        return self._journal.last_seq

    def _forget(self, now_ms: int) -> None:
        if now_ms >= self._forget_voided_ms:
            self._journal.forget_voided()
        while (id_ := self._forget_reservations.first_due(now_ms)) is not None:
            self._forget_reservations.discard(id_)
            del self._reservations[id_]
        while (id_ := self._forget_adjustments.first_due(now_ms)) is not None:
            self._forget_adjustments.discard(id_)
            del self._adjustments[id_]
        while (counter := self._forget_counters.first_due(now_ms)) is not None:
            self._forget_counters.discard(counter)
            if self._pending.get(counter):
                # It is in use: the ending of what is pending sets another time.
                continue
            self._drop_counter(counter)

    def _remembered_ms(self, state: State, status: Status) -> int:
        if state is State.EXPIRED:
            return self._retention.remember_expired_ms
        if status in (Status.RELEASED, Status.RELEASED_UNKNOWN):
            return self._retention.remember_released_ms
        return self._retention.remember_ms

    def _drop_if_nothing(self, counter: Counter) -> None:
        """A counter that is not there reads as one that shows nothing. One that was repaired knows up to which seq."""
        if self._pending.get(counter) or counter in self._repaired_at_seq or self._adjusted.get(counter):
            return
        if self._balances.get(counter, _EMPTY) == _EMPTY:
            self._forget_counters.discard(counter)
            self._drop_counter(counter)

    def _drop_counter(self, counter: Counter) -> None:
        self._balances.pop(counter, None)
        self._adjusted.pop(counter, None)
        self._repaired_at_seq.pop(counter, None)
        self._pending.pop(counter, None)


_EMPTY = Balance()
_NOTHING = Reservation("", State.RELEASED, targets=(), amount_nanos=None)


class _Call:
    """One verb at one instant: decisions go in, counters, records and journal are changed."""

    def __init__(self, store: MemoryStore, trace: str, *, wants_entries: bool = True) -> None:
        self._store = store
        self._trace = trace
        self._wants_entries = wants_entries
        self._seq_before = store._seq
        self._entries: list[Entry] = []
        self.now_ms = store._clock_ms()
        store._forget(self.now_ms)
        # Rarely so; where none is due in the whole store, none is on any counter.
        self._some_are_due = store._leases.first_due(self.now_ms) is not None

    def open(self, reservation_id: str, targets: Sequence[Target] = ()) -> Reservation | None:
        store = self._store
        known = store._reservations.get(reservation_id)
        if known is not None and known.is_due(self.now_ms):
            self.expire_due(known)
            known = store._reservations[reservation_id]
        self.expire_due_on(known.targets or targets if known else targets)
        return known

    def expire_due_on(self, targets: Sequence[Target]) -> None:
        if not self._some_are_due:
            return
        left = SWEPT_PER_VERB
        for target in targets:
            pending = self._store._pending.get(target.counter)
            while left and pending and (due := pending.first_due(self.now_ms)) is not None:
                self.expire_due(self._store._reservations[due])
                left -= 1

    def leases_due(self, targets: Sequence[Target]) -> bool:
        if not self._some_are_due:
            return False
        pending = (self._store._pending.get(target.counter) for target in targets)
        return any(ids is not None and ids.first_due(self.now_ms) is not None for ids in pending)

    def expire_due(self, reservation: Reservation) -> None:
        self.apply(Op.EXPIRE, reservation.id, transitions.expire_due(reservation))

    def apply(self, op: Op, id_: str, decision: Decision, reason: str = "") -> None:
        if decision.becomes is not None:
            self._remember(decision.becomes, decision.status)
        if decision.postings:
            self._post(op, id_, decision, reason)
        # A repaired counter was wrong, and the totals need not be.
        if op is not Op.ADJUST:
            self._add_to_totals(decision.postings)
        if decision.becomes is None:
            self._schedule_forgetting([posting.target for posting in decision.postings])
        if op is not Op.RESERVE:
            changed = (
                decision.becomes.targets if decision.becomes else [posting.target for posting in decision.postings]
            )
            for target in changed:
                self._store._drop_if_nothing(target.counter)

    def _add_to_totals(self, postings: Sequence[Posting]) -> None:
        # Once an account, whatever its periods.
        held = {target.account: nanos for target, _, nanos in postings if nanos}
        for account, nanos in held.items():
            self._store._reserved_by_kind[kind_of(account)] += nanos

    def _remember(self, reservation: Reservation, status: Status) -> None:
        store = self._store
        store._reservations.put(reservation)
        if reservation.state is State.PENDING:
            store._leases.set(reservation.id, reservation.deadline_ms)
            for target in reservation.targets:
                store._pending[target.counter].set(reservation.id, reservation.deadline_ms)
            return
        store._leases.discard(reservation.id)
        for target in reservation.targets:
            store._pending[target.counter].discard(reservation.id)
        self._schedule_forgetting(reservation.targets)
        store._forget_reservations.set(reservation.id, self.now_ms + store._remembered_ms(reservation.state, status))

    def _post(self, op: Op, id_: str, decision: Decision, reason: str) -> None:
        store, balances = self._store, self._store._balances
        figures: list[int] = []
        for target, spent_delta, reserved_delta in decision.postings:
            counter = target.counter
            before = balances.get(counter, _EMPTY)
            spent, reserved = before.spent_nanos + spent_delta, before.reserved_nanos + reserved_delta
            balances[counter] = Balance(spent, reserved)
            if decision.status is Status.ADJUSTED:
                store._adjusted[counter] = store._adjusted.get(counter, 0) + spent_delta
            figures += (spent_delta, reserved_delta, spent, reserved)
        step = store._journal.write(
            op=op,
            status=decision.status,
            reserved_at=store._reserved_at.pop(id_, None) if op is not Op.RESERVE else None,
            time_ms=self.now_ms,
            reservation_id=id_,
            trace=self._trace,
            reserve_trace=decision.becomes.trace if op is Op.EXPIRE and decision.becomes else "",
            reason=reason,
            targets=pack_targets(tuple([target for target, _, _ in decision.postings])),
            figures=tuple(figures),
        )
        if op is Op.RESERVE:
            store._reserved_at[id_] = step.last_seq
        elif decision.status is Status.RELEASED:
            store._forget_voided_ms = self.now_ms + store._retention.remember_ms
        if self._wants_entries or op is Op.EXPIRE:
            self._entries += step.entries()

    def _schedule_forgetting(self, targets: Sequence[Target]) -> None:
        """Counters are kept for a time after their window's end or their last change."""
        store, kept_ms = self._store, self._store._retention.counters_ms
        for target in targets:
            ends_ms = target.window.ends_ms
            if ends_ms < FOREVER_MS:
                store._forget_counters.set(target.counter, max(self.now_ms, ends_ms) + kept_ms)

    def answer(self, decision: Decision, id_: str = "", *, targets: Sequence[Target] = ()) -> Answer:
        store = self._store
        return Answer(
            status=decision.status,
            now_ms=self.now_ms,
            generation=store._generation,
            seq=store._seq,
            limits_version=store._limits.version,
            recorded=store._reservations.get(id_) if decision.status in TELLS_RECORDED else None,
            rejection=decision.rejection,
            entries=tuple(self._entries),
            written=store._seq - self._seq_before,
            balances=tuple(store._balances_of(targets)),
        )
