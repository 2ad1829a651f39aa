"""The rules of ``core.transitions`` for one verb at one instant, over the tables of a store.

Theory of operation. A verb opens with what is due: the reservation that it names expires if its lease is over, then a
few others on its counters (``EngineCall.open``). Then the rules decide by what the tables say, and the engine applies
the decision: it puts the reservation, books its postings on the counters, appends one step to the journal, and drops
counters that are back at zero (``EngineCall.apply``). Nothing else writes to these tables.

The caller holds the lock or transaction that makes the verb atomic, and passes the time in. If a verb raises, a
database rolls it back; tables that cannot do so keep the leases that expired in passing, as the Redis scripts do.
"""

from budget_middleware.core import transitions
from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Adjustment
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.transitions import Decision, Posting
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Repair, Reserve, Transfer
from budget_middleware.core.windows import FOREVER_MS
from budget_middleware.stores.engine.call import EngineCall
from budget_middleware.stores.engine.counters_read import NO_TARGETS, group_of, new_group
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.tables import ByHand, Tables

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_RESERVE, _FINALIZE = Op.RESERVE, Op.FINALIZE


class Engine:
    """Every verb that changes a counter. ``now_ms`` is the store's time."""

    def __init__(self, tables: Tables, retention: Retention) -> None:
        self._tables = tables
        self._retention = retention

    def reserve(self, verb: Reserve, *, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, verb.trace, wants_entries=verb.wants_entries)
        known, group = call.open(verb.id, verb.targets), group_of(verb.targets)
        balances = call.compared_balances(group)
        try:
            decision = transitions.reserve(
                known,
                verb,
                balances=balances,
                limits_version=call.meta.limits_version,
                leases_due=call.some_are_due and call.leases_due(verb.targets),
                now_ms=now_ms,
                bound=() if group.is_plain else call.targets_with_carry(group),
            )
        except transitions.CounterFull as error:
            raise StoreRefused(str(error)) from error
        call.apply(_RESERVE, verb.id, decision, group)
        if decision.becomes is None:
            group = group_of(known.targets) if known else NO_TARGETS
        return call.answer(decision, verb.id, group=group)

    def finalize(self, verb: Finalize, *, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, verb.trace, wants_entries=verb.wants_entries)
        known = call.open(verb.id, verb.targets)
        decision = transitions.finalize(known, verb, remember_ms=self._retention.remember_ms)
        group = group_of(known.targets if known else verb.targets)
        call.apply(_FINALIZE, verb.id, decision, group, reason=verb.reason, bill=verb.bill)
        return call.answer(decision, verb.id, group=group if decision.becomes or known else NO_TARGETS)

    def release(self, verb: Release, *, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, verb.trace, wants_entries=verb.wants_entries)
        known = call.open(verb.id)
        decision = transitions.release(known, verb, remember_ms=self._retention.remember_ms)
        group = group_of(known.targets) if known else NO_TARGETS
        call.apply(Op.RELEASE, verb.id, decision, group, reason=verb.reason, forgets=verb.forgets)
        if verb.forgets:
            self._tables.forget(now_ms)
        return call.answer(decision, verb.id, group=group)

    def extend(self, verb: Extend, *, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, verb.trace)
        decision = transitions.extend(call.open(verb.id), verb, now_ms=now_ms)
        call.apply(Op.RESERVE, verb.id, decision, NO_TARGETS)
        return call.answer(decision, verb.id)

    def grow(self, verb: Grow, *, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, verb.trace, wants_entries=verb.wants_entries)
        known = call.open(verb.id)
        group = group_of(known.targets) if known else NO_TARGETS
        try:
            decision = transitions.grow(known, verb, balances=call.compared_balances(group), now_ms=now_ms)
        except transitions.CounterFull as error:
            raise StoreRefused(str(error)) from error
        call.apply(Op.GROW, verb.id, decision, group, reason=verb.reason)
        return call.answer(decision, verb.id, group=group)

    def expire(self, verb: Expire, *, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, verb.trace)
        known = call.open(verb.id)
        decision = transitions.expire_now(known)
        group, reserve_trace = (group_of(known.targets), known.trace) if known else (NO_TARGETS, "")
        call.apply(Op.EXPIRE, verb.id, decision, group, reserve_trace=reserve_trace, reason=verb.reason)
        return call.answer(decision, verb.id)

    def adjust(self, verb: Adjust, *, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, verb.trace)
        call.expire_due_on(verb.targets)
        group = group_of(verb.targets)
        decision = transitions.adjust(self._tables.adjustment(verb.id), verb, now_ms=now_ms)
        if decision.status is Status.ADJUSTED:
            made = Adjustment(verb.id, verb.targets, verb.amount, as_of=verb.as_of)
            self._tables.put_adjustment(made, forget_ms=self._forget_adjust_ms(verb, now_ms))
            call.apply(Op.ADJUST, verb.id, decision, group, reason=verb.reason, bill=verb.bill)
        return call.answer(decision, group=group)

    def _forget_adjust_ms(self, verb: Adjust, now_ms: int) -> int:
        if not verb.as_of:
            return now_ms + self._retention.remember_ms
        last_ms = max(target.counts_until_ms for target in verb.targets)
        return FOREVER_MS if last_ms >= FOREVER_MS else max(now_ms, last_ms) + self._retention.counters_ms

    def transfer(self, verb: Transfer, *, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, verb.trace)
        group, sources = group_of(verb.targets), group_of(verb.sources)
        call.expire_due_on(group.targets)
        decision = transitions.transfer(
            self._tables.adjustment(verb.id),
            verb,
            balances=call.compared_balances(sources),
            leases_due=call.leases_due(verb.sources),
            now_ms=now_ms,
            bound=call.targets_with_carry(sources),
        )
        if decision.status is Status.TRANSFERRED:
            made = Adjustment(verb.id, group.targets, verb.amount, n_sources=len(verb.sources))
            self._tables.put_adjustment(made, forget_ms=now_ms + self._retention.remember_ms)
            call.apply(Op.TRANSFER, verb.id, decision, group, reason=verb.reason)
        return call.answer(decision, group=group)

    def repair(self, verb: Repair, *, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, verb.trace)
        counter, group = verb.target.counter, new_group((verb.target,))
        by_hand = self._tables.by_hand(counter)
        if by_hand.repaired_at_seq > verb.found_at_seq:
            return call.answer(Decision(Status.DUPLICATE), group=group)
        (balance,) = self._tables.balances((counter,))
        held = sum(reservation.held[verb.target.place] for reservation in self._tables.pending(counter))
        # The journal has led *spent*; a part of it that is more than the whole is not so.
        adjusted = min(by_hand.adjusted, balance.spent + verb.spent)
        self._tables.put_by_hand(counter, ByHand(adjusted, repaired_at_seq=call.meta.seq + 1))
        posting = Posting(verb.target, verb.spent, held - balance.reserved)
        decision = Decision(Status.REPAIRED, postings=(posting,))
        call.apply(Op.ADJUST, verb.id, decision, group, reason=verb.reason)
        return call.answer(decision, group=group)

    def sweep(self, *, at_most: int, trace: str, now_ms: int) -> Answer:
        call = EngineCall(self._tables, self._retention, now_ms, trace)
        due = self._tables.due(now_ms, at_most=at_most)
        for reservation in due:
            call.expire_due(reservation)
        return call.answer(Decision(Status.EXPIRED if len(due) < at_most else Status.LEASES_DUE))

    def head(self, *, now_ms: int) -> Answer:
        return EngineCall(self._tables, self._retention, now_ms).answer(Decision(Status.UNKNOWN))
