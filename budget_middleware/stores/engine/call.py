"""One verb at one instant: applies the decisions of the rules to the tables.

See ``engine`` for its theory of operation.
"""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

from msgspec.structs import replace

from budget_middleware.core import transitions
from budget_middleware.core.answers import Answer, Entry
from budget_middleware.core.model import Balance, Counter, Reservation, Target
from budget_middleware.core.statuses import BOOKED_BY_HAND, ONLY_HOLD, RETURNS_RECORDED, Op, State, Status
from budget_middleware.core.transitions import Decision, Posting
from budget_middleware.stores.base import SWEPT_PER_VERB
from budget_middleware.stores.engine.counters_read import (
    NO_TARGETS,
    TargetGroup,
    compared_balances,
    group_of,
    new_group,
    targets_with_carry,
)
from budget_middleware.stores.retention import FORGOTTEN_EARLY, Retention
from budget_middleware.stores.tables import ByHand, Meta, Step, Tables

_EMPTY = Balance()
_UNTOUCHED = ByHand()
_target_of = attrgetter("target")

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_EXPIRE, _PENDING, _EXPIRED, _RELEASED = Op.EXPIRE, State.PENDING, State.EXPIRED, Status.RELEASED


class EngineCall:
    """One verb at one instant: decisions go in, the tables are changed."""

    __slots__ = (
        "_booked",
        "_entries",
        "_now_ms",
        "_retention",
        "_seq_before",
        "_tables",
        "_trace",
        "_wants_entries",
        "meta",
        "some_are_due",
    )

    def __init__(
        self, tables: Tables, retention: Retention, now_ms: int, trace: str = "", *, wants_entries: bool = True
    ) -> None:
        self._tables = tables
        self._retention = retention
        self._now_ms = now_ms
        self._trace = trace
        self._wants_entries = wants_entries
        self._entries: tuple[Entry, ...] = ()
        # The group that was read or booked on last, and the balances since then.
        self._booked: tuple[TargetGroup, Sequence[Balance]] = NO_TARGETS, ()
        # Where none is due in the whole store, which is nearly always so, none is on any counter.
        self.meta, self.some_are_due = tables.open(now_ms)
        self._seq_before = self.meta.seq
        if self.meta.forget_voided_ms and now_ms >= self.meta.forget_voided_ms:
            self.meta = replace(self.meta, forget_voided_ms=0)
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
        group = group_of(reservation.targets)
        self.apply(_EXPIRE, reservation.id, decision, group, reserve_trace=reservation.trace)
        return decision.becomes

    def compared_balances(self, group: TargetGroup) -> Sequence[Balance]:
        """What the limits of targets are compared with."""
        if group.is_plain:
            return self._balances(group)
        return compared_balances(self._tables, group, now_ms=self._now_ms)

    def _balances(self, group: TargetGroup) -> Sequence[Balance]:
        read, balances = self._booked
        if read is not group:
            balances = self._tables.balances(group.counters)
            self._booked = group, balances
        return balances

    def targets_with_carry(self, group: TargetGroup) -> tuple[Target, ...]:
        """The targets under the limits that bind now."""
        return targets_with_carry(self._tables, group)

    def apply(
        self,
        op: Op,
        id_: str,
        decision: Decision,
        group: TargetGroup,
        *,
        reserve_trace: str = "",
        reason: str = "",
        bill: str = "",
        forgets: bool = False,
    ) -> None:
        """Write what was decided. Its postings are on the targets of the group or on some of them, in their order."""
        status, becomes, postings = decision.status, decision.becomes, decision.postings
        is_pending = becomes is not None and becomes.state is _PENDING
        if becomes is not None:
            forget_ms = None if is_pending else 0 if forgets else self._forget_ms(becomes, status)
            self._tables.put(becomes, forget_ms=forget_ms)
        booked_on = group if len(postings) == len(group.targets) else new_group(tuple(map(_target_of, postings)))
        if postings:
            figures = self._book(postings, booked_on)
            if status in BOOKED_BY_HAND:
                self._add_to_adjusted(postings)
            texts = (self._trace, reserve_trace, reason, bill)
            self._append_step(op, id_, status, booked_on, figures=figures, texts=texts)
        if not is_pending:
            self._retain_or_drop(booked_on if becomes is None else group)

    def _forget_ms(self, reservation: Reservation, status: Status) -> int:
        if reservation.state is _EXPIRED:
            return self._now_ms + self._retention.remember_expired_ms
        if status in FORGOTTEN_EARLY:
            return self._now_ms + self._retention.remember_released_ms
        return self._now_ms + self._retention.remember_ms

    def _book(self, postings: Sequence[Posting], group: TargetGroup) -> tuple[int, ...]:
        """Change the counters; the four figures of each, as the journal has them."""
        if not group.is_distinct:
            # Each by itself: the second change of a counter finds what the first has left.
            by_posting = [self._book((posting,), new_group((posting.target,))) for posting in postings]
            self._booked = NO_TARGETS, ()
            return tuple(chain.from_iterable(by_posting))
        balances: list[Balance] = []
        figures: list[int] = []
        for posting, before in zip(postings, self._balances(group), strict=True):
            spent_delta, reserved_delta = posting.spent, posting.reserved
            balance = Balance(before.spent + spent_delta, before.reserved + reserved_delta)
            balances.append(balance)
            figures += (spent_delta, reserved_delta, balance.spent, balance.reserved)
        self._tables.book(group.counters, balances)
        self._booked = group, balances
        return tuple(figures)

    def _add_to_adjusted(self, postings: Sequence[Posting]) -> None:
        for posting in postings:
            counter = posting.target.counter
            by_hand = self._tables.by_hand(counter)
            self._tables.put_by_hand(counter, by_hand._replace(adjusted=by_hand.adjusted + posting.spent))

    def _retain_or_drop(self, group: TargetGroup) -> None:
        """Something on these counters is over: they are kept for a time after that, or after their window's end.

        One that is back at nothing is dropped at once: random tokens must not leave a counter each.
        """
        retention, now_ms = self._retention, self._now_ms
        until_ms: dict[Counter, int] = {}
        for counter, counted_until_ms in group.counted_until_ms:
            until_ms[counter] = max(now_ms, counted_until_ms) + retention.counters_ms
        for counter, counted_until_ms in group.short_counted_until_ms:
            until_ms[counter] = max(now_ms, counted_until_ms) + retention.short_counters_ms
        balances = self._balances(group)
        if _EMPTY in balances:
            for counter, balance in zip(group.counters, balances, strict=True):
                if balance == _EMPTY and self._shows_nothing(counter):
                    self._tables.drop_counter(counter)
                    until_ms.pop(counter, None)
        self._tables.retain(until_ms)

    def _shows_nothing(self, counter: Counter) -> bool:
        """Whether a counter that is not there would look the same. A repaired one knows up to which seq it was."""
        return self._tables.by_hand(counter) == _UNTOUCHED

    def _append_step(
        self,
        op: Op,
        id_: str,
        status: Status,
        group: TargetGroup,
        *,
        figures: tuple[int, ...],
        texts: tuple[str, str, str, str],
    ) -> None:
        """Append one journal step with all postings."""
        meta, count, is_voided = self.meta, len(group.targets), status is _RELEASED
        bookings, entries, forget_voided_ms = meta.bookings, meta.entries, meta.forget_voided_ms
        seq = meta.seq + count
        if is_voided:
            entries -= self._tables.void(id_)
            forget_voided_ms = self._now_ms + self._retention.remember_ms
        else:
            entries += count
            if op not in ONLY_HOLD:
                bookings += count
        self.meta = Meta(meta.generation, meta.limits_version, seq, bookings, entries, forget_voided_ms)
        targets = group.targets if group.is_plain else self.targets_with_carry(group)
        step = Step(seq, bookings, entries, self._now_ms, op, id_, status, targets, figures, *texts)
        self._tables.append(step, self.meta, is_voided=is_voided)
        if is_voided:
            self._tables.trim_voided(at_most=self._retention.voided_max)
        elif entries > self._retention.journal_max:
            self._tables.trim(entries=entries - self._retention.journal_max)
        if self._wants_entries or op is _EXPIRE:
            self._entries += (*step.journal_entries(),)

    def answer(self, decision: Decision, id_: str = "", *, group: TargetGroup = NO_TARGETS) -> Answer:
        status, meta = decision.status, self.meta
        read, balances = self._booked
        if read is not group or not group.is_plain:
            balances = self.compared_balances(group)
        return Answer(
            status,
            self._now_ms,
            meta.generation,
            meta.seq,
            meta.limits_version,
            self._tables.reservation(id_) if id_ and status in RETURNS_RECORDED else None,
            decision.rejection,
            self._entries,
            meta.seq - self._seq_before,
            tuple(balances),
        )
