"""Tables as dictionaries."""

import secrets
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter

from budget_middleware.core.model import Adjustment, Balance, Counter, Reservation, series_of
from budget_middleware.core.statuses import Op, State
from budget_middleware.core.units import Amounts
from budget_middleware.stores.deadlines import Deadlines
from budget_middleware.stores.records import pack_targets, unpack_targets
from budget_middleware.stores.tables import ByHand, CounterRow, Kind, Meta, Step

_UNTOUCHED = ByHand()
_last_seq = attrgetter("last_seq")
_lease = attrgetter("deadline_ms", "id")

_LEAVES_PENDING = frozenset({Op.GROW, Op.ADJUST, Op.TRANSFER})

_Figures = tuple[int, ...]
_Ended = tuple[str, str, _Figures | None, _Figures, _Figures, int]


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
        # The ids of what is pending, by the series that it holds on.
        self._held_on: defaultdict[Counter, set[str]] = defaultdict(set)
        self._adjustments: dict[str, Adjustment] = {}
        self._balances: dict[Counter, Balance] = {}
        self._by_hand: dict[Counter, ByHand] = {}
        self._totals: defaultdict[Kind, int] = defaultdict(int)
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
        if reservation.state is State.PENDING:
            self._pending[id_] = reservation
            self._leases.set(id_, reservation.deadline_ms)
            for target in reservation.targets:
                self._held_on[target.series].add(id_)
            return
        self._ended[id_] = _packed(reservation)
        if forget_ms is not None:
            self._forget_ended.set(id_, forget_ms)
        if self._pending.pop(id_, None) is not None:
            del self._leases[id_]
            for target in reservation.targets:
                self._held_on[target.series].discard(id_)

    def due(self, now_ms: int, *, at_most: int, on: Counter | None = None) -> Sequence[Reservation]:
        if on is None:
            return [self._pending[id_] for id_ in self._leases.due(now_ms, at_most=at_most)]
        held = self._held_on.get(on, ())
        # Of all that are due and all that are held on it, the fewer are looked at.
        due = self._leases.due(now_ms, at_most=len(held))
        found = [self._pending[id_] for id_ in (due if len(due) < len(held) else held) if id_ in held]
        return sorted([each for each in found if each.is_due(now_ms)], key=_lease)[:at_most]

    def pending(self, on: Counter | None = None) -> Collection[Reservation]:
        if on is None:
            return self._pending.values()
        series = series_of(on)
        held = [self._pending[id_] for id_ in self._held_on.get(series, ())]
        if series is on:
            return held
        return [each for each in held if any(target.counter == on for target in each.targets)]

    # Adjustments.

    def adjustment(self, id_: str) -> Adjustment | None:
        return self._adjustments.get(id_)

    def put_adjustment(self, adjustment: Adjustment, *, forget_ms: int) -> None:
        self._adjustments[adjustment.id] = adjustment
        self._forget_adjustments.set(adjustment.id, forget_ms)

    # Counters.

    def balances(self, of: Sequence[Counter]) -> Sequence[Balance | None]:
        return [*map(self._balances.get, of)]

    def book(self, balances: Mapping[Counter, Balance]) -> None:
        self._balances.update(balances)

    def by_hand(self, counter: Counter) -> ByHand:
        return self._by_hand.get(counter, _UNTOUCHED)

    def put_by_hand(self, counter: Counter, by_hand: ByHand) -> None:
        self._by_hand[counter] = by_hand
        self._balances.setdefault(counter, Balance())

    def retain(self, until_ms: Mapping[Counter, int]) -> None:
        known = self._forget_counters
        for counter, time_ms in until_ms.items():
            # Most often it is what it was.
            if known.get(counter) != time_ms:
                known.set(counter, time_ms)

    def drop_counter(self, counter: Counter) -> None:
        self._forget_counters.pop(counter, None)
        self._balances.pop(counter, None)
        self._by_hand.pop(counter, None)
        series = series_of(counter)
        if not self._held_on.get(series, True):
            del self._held_on[series]

    def all_counters(self) -> Mapping[Counter, CounterRow]:
        return {counter: CounterRow(balance, self.by_hand(counter)) for counter, balance in self._balances.items()}

    def totals(self) -> Mapping[Kind, int]:
        return self._totals

    def add_to_totals(self, by_kind: Iterable[tuple[Kind, int]]) -> None:
        for kind, reserved in by_kind:
            self._totals[kind] += reserved

    # The journal.

    def append(self, step: Step, meta: Meta, *, is_voided: bool) -> None:
        self.meta = meta
        (self._voided if is_voided else self._steps).append(step)
        if step.op is Op.RESERVE:
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
        for counter in self._forget_counters.take_due(now_ms):
            # Where one is in use, the ending of what is pending sets another time.
            if not self.pending(counter):
                self.drop_counter(counter)


def _packed(reservation: Reservation) -> _Ended:
    asked = reservation.asked
    return (
        # What `value` is, which takes two calls of Python.
        reservation.state._value_,
        pack_targets(reservation.targets),
        None if asked is None else tuple(asked),
        tuple(reservation.expiry_charge),
        tuple(reservation.actual),
        reservation.created_ms,
    )


def _unpacked(id_: str, ended: _Ended) -> Reservation:
    state, targets, asked, charge, actual, created_ms = ended
    return Reservation(
        id_,
        State(state),
        unpack_targets(targets),
        None if asked is None else Amounts(*asked),
        expiry_charge=Amounts(*charge),
        actual=Amounts(*actual),
        created_ms=created_ms,
    )
