"""One verb at one instant: applies the decisions of the rules to the tables.

See ``engine`` for its theory of operation.
"""

from collections.abc import Sequence
from operator import attrgetter

from budget_middleware.core import transitions
from budget_middleware.core.accounts import kind_of
from budget_middleware.core.answers import Answer, Entry
from budget_middleware.core.model import Balance, Counter, Reservation, Target, balance_of
from budget_middleware.core.statuses import BOOKED_BY_HAND, RETURNS_RECORDED, Op, State, Status, may_book
from budget_middleware.core.transitions import Decision, Posting
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import FOREVER_MS
from budget_middleware.stores.base import SWEPT_PER_VERB
from budget_middleware.stores.counters_read import EMPTY, CountersRead
from budget_middleware.stores.retention import FORGOTTEN_EARLY, Retention
from budget_middleware.stores.tables import ByHand, Meta, Step, Tables

_UNTOUCHED = ByHand()
_target_of = attrgetter("target")


class EngineCall:
    """One verb at one instant: decisions go in, the tables are changed."""

    def __init__(
        self, tables: Tables, retention: Retention, *, now_ms: int, trace: str = "", wants_entries: bool = True
    ) -> None:
        self._tables = tables
        self._retention = retention
        self._trace = trace
        self._now_ms = now_ms
        self._wants_entries = wants_entries
        self._entries: list[Entry] = []
        self.counters = CountersRead(tables, now_ms=now_ms)
        # Where none is due in the whole store, which is nearly always so, none is on any counter.
        self.meta, self.some_are_due = tables.open(now_ms)
        self._seq_before = self.meta.seq
        if self.meta.forget_voided_ms and now_ms >= self.meta.forget_voided_ms:
            self.meta = self.meta._replace(forget_voided_ms=0)
            tables.put_meta(self.meta)
            tables.trim_voided(at_most=0)

    def open(self, reservation_id: str, targets: Sequence[Target] = ()) -> Reservation | None:
        """What is known of an id, after it has expired if its lease is over, and then due ones on its counters."""
        known = self._tables.reservation(reservation_id)
        if self.some_are_due:
            if known is not None and known.is_due(self._now_ms):
                known = self.expire_due(known)
            self.expire_due_on(known.targets or targets if known else targets)
        return known

    def expire_due_on(self, targets: Sequence[Target]) -> None:
        if not self.some_are_due:
            return
        left = SWEPT_PER_VERB
        for target in targets:
            due = self._tables.due(self._now_ms, at_most=left, on=target.series)
            for reservation in due:
                self.expire_due(reservation)
            left -= len(due)

    def leases_due(self, targets: Sequence[Target]) -> bool:
        return self.some_are_due and any(
            self._tables.due(self._now_ms, at_most=1, on=target.series) for target in targets
        )

    def expire_due(self, reservation: Reservation) -> Reservation | None:
        decision = transitions.expire_due(reservation)
        self.apply(Op.EXPIRE, reservation.id, decision, reserve_trace=reservation.trace)
        return decision.becomes

    def apply(
        self,
        op: Op,
        id_: str,
        decision: Decision,
        *,
        reserve_trace: str = "",
        reason: str = "",
        bill: str = "",
        forgets: bool = False,
    ) -> None:
        becomes, postings = decision.becomes, decision.postings
        booked_on = tuple(map(_target_of, postings))
        is_pending = becomes is not None and becomes.state is State.PENDING
        if becomes is not None:
            forget_ms = None if is_pending else 0 if forgets else self._forget_ms(becomes, decision.status)
            self._tables.put(becomes, forget_ms=forget_ms)
        if postings:
            figures = self._book(op, booked_on, postings)
            if decision.status in BOOKED_BY_HAND:
                self._add_to_adjusted(postings)
            step = (op, id_, decision, booked_on, figures)
            self._append_step(*step, reserve_trace=reserve_trace, reason=reason, bill=bill)
        if not is_pending:
            self._retain_or_drop(booked_on if becomes is None else becomes.targets)

    def _forget_ms(self, reservation: Reservation, status: Status) -> int:
        if reservation.state is State.EXPIRED:
            return self._now_ms + self._retention.remember_expired_ms
        if status in FORGOTTEN_EARLY:
            return self._now_ms + self._retention.remember_released_ms
        return self._now_ms + self._retention.remember_ms

    def _book(self, op: Op, targets: tuple[Target, ...], postings: Sequence[Posting]) -> tuple[int, ...]:
        """Change the counters and the totals; the four figures of each counter, as the journal has them."""
        known = self.counters.read_of(targets)
        booked: dict[Counter, Balance] = {}
        figures: list[int] = []
        held: dict[tuple[Unit, str], int] = {}
        for target, spent_delta, reserved_delta in postings:
            counter = target.counter
            spent, reserved = known[counter] or EMPTY
            spent += spent_delta
            reserved += reserved_delta
            known[counter] = booked[counter] = balance_of((spent, reserved))
            figures += (spent_delta, reserved_delta, spent, reserved)
            if reserved_delta:
                # Once an account, whatever its periods.
                held[target.unit, target.account] = reserved_delta
        self._tables.book(booked)
        # A repaired counter was wrong, and the totals need not be.
        if held and op is not Op.ADJUST:
            self._tables.add_to_totals([((unit, kind_of(account)), held[unit, account]) for unit, account in held])
        return tuple(figures)

    def _add_to_adjusted(self, postings: Sequence[Posting]) -> None:
        for target, spent_delta, _ in postings:
            by_hand = self._tables.by_hand(target.counter)
            self._tables.put_by_hand(target.counter, by_hand._replace(adjusted=by_hand.adjusted + spent_delta))

    def _retain_or_drop(self, targets: Sequence[Target]) -> None:
        """Something on these counters is over: they are kept for a time after that, or after their window's end.

        One that is back at nothing is dropped at once: random tokens must not leave a counter each.
        """
        balances, retention = self.counters.read_of(targets), self._retention
        until_ms: dict[Counter, int] = {}
        for target in targets:
            counter, ends_ms = target.counter, target.counts_until_ms
            if (balances[counter] or EMPTY) == EMPTY and self._shows_nothing(counter):
                balances[counter] = None
                self._tables.drop_counter(counter)
            elif ends_ms < FOREVER_MS:
                kept_ms = retention.short_counters_ms if counter.period.is_short else retention.counters_ms
                until_ms[counter] = max(self._now_ms, ends_ms) + kept_ms
        self._tables.retain(until_ms)

    def _shows_nothing(self, counter: Counter) -> bool:
        """Whether a counter that is not there would look the same. A repaired one knows up to which seq it was."""
        return self._tables.by_hand(counter) == _UNTOUCHED

    def _append_step(
        self,
        op: Op,
        id_: str,
        decision: Decision,
        targets: tuple[Target, ...],
        figures: tuple[int, ...],
        *,
        reserve_trace: str,
        reason: str,
        bill: str,
    ) -> None:
        """Append one journal step with all postings."""
        before, count, status = self.meta, len(targets), decision.status
        is_voided = status is Status.RELEASED
        self.meta = Meta(
            before.generation,
            before.limits_version,
            seq=before.seq + count,
            bookings=before.bookings + (count if may_book(op, status) else 0),
            entries=before.entries + (-self._tables.void(id_) if is_voided else count),
            forget_voided_ms=self._now_ms + self._retention.remember_ms if is_voided else before.forget_voided_ms,
        )
        targets = self.counters.bound(targets)
        if decision.becomes is not None and targets == decision.becomes.targets:
            # Many steps have the same: a journal that shares them is smaller, and gives a full garbage collection less.
            targets = decision.becomes.targets
        step = Step(
            self.meta.seq,
            self.meta.bookings,
            self.meta.entries,
            self._now_ms,
            op,
            id_,
            status,
            targets=targets,
            figures=figures,
            trace=self._trace,
            reserve_trace=reserve_trace,
            reason=reason,
            bill=bill,
        )
        self._tables.append(step, self.meta, is_voided=is_voided)
        if is_voided:
            self._tables.trim_voided(at_most=self._retention.voided_max)
        elif self.meta.entries > self._retention.journal_max:
            self._tables.trim(entries=self.meta.entries - self._retention.journal_max)
        if self._wants_entries or op is Op.EXPIRE:
            self._entries += step.journal_entries()

    def answer(self, decision: Decision, id_: str = "", *, targets: Sequence[Target] = ()) -> Answer:
        return Answer(
            status=decision.status,
            now_ms=self._now_ms,
            generation=self.meta.generation,
            seq=self.meta.seq,
            limits_version=self.meta.limits_version,
            recorded=self._tables.reservation(id_) if decision.status in RETURNS_RECORDED and id_ else None,
            rejection=decision.rejection,
            entries=tuple(self._entries),
            written=self.meta.seq - self._seq_before,
            balances=tuple(self.counters.compared(targets)) if targets else (),
        )
