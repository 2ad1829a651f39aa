"""Tables as dictionaries."""

import secrets
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any

from budget_middleware.core.model import Adjustment, Balance, Counter, Reservation
from budget_middleware.core.payers.accounts import kind_of
from budget_middleware.core.statuses import Op, State
from budget_middleware.core.units import Amounts
from budget_middleware.stores.engine.table_reads import held_by_kind
from budget_middleware.stores.memory.deadlines import Deadlines
from budget_middleware.stores.records.records import pack_targets, unpack_targets
from budget_middleware.stores.tables import ByHand, CounterRow, Kind, Meta, Step

_EMPTY, _UNTOUCHED = Balance(), ByHand()
_last_seq = attrgetter("last_seq")

_LEAVES_PENDING = frozenset({Op.GROW, Op.ADJUST, Op.TRANSFER})

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_RESERVE, _PENDING = Op.RESERVE, State.PENDING

_Ended = tuple[Any, ...]


class MemoryTables:
    """See ``Tables``. Callers hold the lock of the store.

    Reservations that have ended are kept as tuples of str and int only, which the garbage collector untracks: a full
    collection stops every request, and an hour of them may be hundreds of thousands.
    """

    def __init__(self) -> None:
        self.meta = Meta(generation=secrets.token_hex(8))
        self._pending: dict[str, Reservation] = {}
        self._ended: dict[str, _Ended] = {}
        self._leases: Deadlines[str] = Deadlines()
        self._adjustments: dict[str, Adjustment] = {}
        self._balances = _Balances()
        self._by_hand: dict[Counter, ByHand] = {}
        # All that there were: those on which nothing is held any more are shown with 0.
        self._kinds: set[Kind] = set()
        self._steps: deque[Step] = deque()
        self._voided: deque[Step] = deque()
        # The seq of the step of its reserve, by the id of what may be voided.
        self._reserved_at: dict[str, int] = {}
        self._forget_ended: Deadlines[str] = Deadlines()
        self._forget_adjustments: Deadlines[str] = Deadlines()
        self._forget_counters: Deadlines[Counter] = Deadlines()

    def open(self, now_ms: int) -> tuple[Meta, bool]:
        # Most often nothing is over.
        if (
            self._forget_ended.first_ms <= now_ms
            or self._forget_adjustments.first_ms <= now_ms
            or self._forget_counters.first_ms <= now_ms
        ):
            self.forget(now_ms)
        return self.meta, self._leases.first_ms <= now_ms and self._leases.first_due(now_ms) is not None

    def put_meta(self, meta: Meta) -> None:
        self.meta = meta

    # Reservations.

    def reservation(self, id_: str) -> Reservation | None:
        pending = self._pending.get(id_)
        if pending is not None:
            return pending
        ended = self._ended.get(id_)
        return _unpacked(id_, ended) if ended is not None else None

    def put(self, reservation: Reservation, *, forget_ms: int | None) -> None:
        id_ = reservation.id
        if reservation.state is _PENDING:
            self._pending[id_] = reservation
            self._leases.set(id_, reservation.deadline_ms)
            return
        # Its `value` would take two calls of Python. A tombstone has no amounts behind the other two.
        state, targets = reservation.state._value_, pack_targets(reservation.targets)
        amounts = *reservation.expiry_charge, *reservation.actual, *(reservation.asked or ())
        self._ended[id_] = (state, targets, reservation.created_ms, *amounts)
        if forget_ms is not None:
            self._forget_ended.set(id_, forget_ms)
        if self._pending.pop(id_, None) is not None:
            del self._leases[id_]

    def due(self, now_ms: int, *, at_most: int, on: Counter | None = None) -> Sequence[Reservation]:
        if on is None:
            return [self._pending[id_] for id_ in self._leases.due(now_ms, at_most=at_most)]
        due = [self._pending[id_] for id_ in self._leases.due(now_ms, at_most=len(self._pending))]
        return [each for each in due if any(target.series == on for target in each.targets)][:at_most]

    def pending(self, on: Counter | None = None) -> Collection[Reservation]:
        if on is None:
            return self._pending.values()
        return [each for each in self._pending.values() if any(target.counter == on for target in each.targets)]

    # Adjustments.

    def adjustment(self, id_: str) -> Adjustment | None:
        return self._adjustments.get(id_)

    def put_adjustment(self, adjustment: Adjustment, *, forget_ms: int) -> None:
        self._adjustments[adjustment.id] = adjustment
        self._forget_adjustments.set(adjustment.id, forget_ms)

    # Counters.

    def balances(self, of: Sequence[Counter]) -> Sequence[Balance]:
        return [*map(self._balances.__getitem__, of)]

    def book(self, on: Sequence[Counter], balances: Sequence[Balance]) -> None:
        n_before = len(self._balances)
        self._balances.update(zip(on, balances, strict=True))
        if len(self._balances) > n_before:
            self._kinds.update((counter.unit, kind_of(counter.account)) for counter in on)

    def by_hand(self, counter: Counter) -> ByHand:
        return self._by_hand.get(counter, _UNTOUCHED)

    def put_by_hand(self, counter: Counter, by_hand: ByHand) -> None:
        self._by_hand[counter] = by_hand
        self._balances.setdefault(counter, Balance())

    def retain(self, until_ms: Mapping[Counter, int]) -> None:
        known = self._forget_counters
        # Most often it is what it was.
        if not until_ms.items() <= known.items():
            for counter, time_ms in until_ms.items():
                known.set(counter, time_ms)

    def drop_counter(self, counter: Counter) -> None:
        self._forget_counters.pop(counter, None)
        self._balances.pop(counter, None)
        self._by_hand.pop(counter, None)

    def all_counters(self) -> Mapping[Counter, CounterRow]:
        return {counter: CounterRow(balance, self.by_hand(counter)) for counter, balance in self._balances.items()}

    def reserved_by_kind(self) -> Mapping[Kind, int]:
        return {**dict.fromkeys(self._kinds, 0), **held_by_kind(self._pending.values())}

    # The journal.

    def append(self, step: Step, meta: Meta, *, is_voided: bool) -> None:
        self.meta = meta
        (self._voided if is_voided else self._steps).append(step)
        if step.op is _RESERVE:
            self._reserved_at[step.reservation_id] = step.last_seq
        elif step.op not in _LEAVES_PENDING:
            self._reserved_at.pop(step.reservation_id, None)

    def void(self, reservation_id: str) -> int:
        reserved_at = self._reserved_at.get(reservation_id, 0)
        at = bisect_left(self._steps, reserved_at, key=_last_seq)
        if at == len(self._steps) or self._steps[at].last_seq != reserved_at:
            return 0
        step = self._steps[at]
        del self._steps[at]
        insort(self._voided, step, key=_last_seq)
        return len(step.targets)

    def trim(self, *, entries: int) -> None:
        while self._steps and self._steps[0].entries <= entries:
            self._steps.popleft()

    def trim_voided(self, *, at_most: int) -> None:
        while len(self._voided) > at_most:
            self._voided.popleft()

    def steps(self, *, after_seq: int = 0, newest_first: bool = False) -> Iterator[Step]:
        kept = (self._after(after_seq, steps, newest_first=newest_first) for steps in (self._steps, self._voided))
        return merge(*kept, key=_last_seq, reverse=newest_first)

    def _after(self, seq: int, steps: deque[Step], *, newest_first: bool) -> Iterator[Step]:
        count = len(steps) - bisect_right(steps, seq, key=_last_seq)
        return islice(reversed(steps), count) if newest_first else islice(steps, len(steps) - count, None)

    def forget(self, now_ms: int) -> None:
        for id_ in self._forget_ended.take_due(now_ms):
            del self._ended[id_]
        for id_ in self._forget_adjustments.take_due(now_ms):
            del self._adjustments[id_]
        if over := self._forget_counters.take_due(now_ms):
            held_on = {target.counter for each in self._pending.values() for target in each.targets}
            for counter in over:
                # Where one is in use, the ending of what is pending sets another time.
                if counter not in held_on:
                    self.drop_counter(counter)


class _Balances(dict[Counter, Balance]):
    """A counter that is not there is at nothing, and stays away when it is looked at."""

    def __missing__(self, _: Counter) -> Balance:
        return _EMPTY


def _unpacked(id_: str, ended: _Ended) -> Reservation:
    state, targets, created_ms, *figures = ended
    n = len(Amounts._fields)
    charge, actual, asked = Amounts(*figures[:n]), Amounts(*figures[n : 2 * n]), figures[2 * n :]
    return Reservation(
        id_,
        State(state),
        unpack_targets(targets),
        Amounts(*asked) if asked else None,
        expiry_charge=charge,
        actual=actual,
        created_ms=created_ms,
    )
