"""The reservations of a batch of verbs: which were read, what becomes of them, and which leases are over."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from budget_middleware.core.model import Adjustment, Counter, Reservation
from budget_middleware.core.statuses import State
from budget_middleware.stores.sql import rows
from budget_middleware.stores.sql.batch_data import Loaded, Row, Wanted, Writes
from budget_middleware.stores.sql.changes import Changes, NotLoaded
from budget_middleware.stores.sql.rows import ReserveStep

_Order = tuple[int, str]

_NONE: Final = (-1, "")
_ALL: Final = (1 << 62, "")


class ReservationSet:
    """See ``Tables``; ``reserve_steps`` is where the journal has the steps of their reserves."""

    def __init__(self, changes: Changes) -> None:
        self.now_ms = 0
        self.reserve_steps: dict[str, ReserveStep] = {}
        self._set = changes.set
        self._reservations: dict[str, Reservation | None] = {}
        self._changed: dict[str, None] = {}
        self._forget_ms: dict[str, int] = {}
        # Whether they are forgotten as soon as the next verb begins, and whether they are by now.
        self._at_once: dict[str, bool] = {}
        self._forgotten: dict[str, bool] = {}
        self._adjustments: dict[str, Adjustment | None] = {}
        self._new_adjustments: dict[str, int] = {}
        # What may be due. Up to which lease all that are due are among them: of all leases, and of those on counters.
        self._maybe_due: dict[str, None] = {}
        self._due_known: _Order = _NONE
        self._due_known_on: dict[Counter, _Order] = {}
        self._pending_known: set[Counter] = set()

    def take(self, wanted: Wanted, loaded: Loaded) -> None:
        """Know what was asked for. What was changed here since stands."""
        self._take_pending(loaded.pending)
        for row in loaded.ended:
            self._reservations.setdefault(row[0], rows.ended_of(row))
        for id_ in wanted.reservations:
            self._reservations.setdefault(id_, None)
        for row in loaded.adjustments:
            self._adjustments.setdefault(row[0], rows.adjustment_of(row))
        for id_ in wanted.adjustments:
            self._adjustments.setdefault(id_, None)
        self._pending_known |= wanted.pending_on
        if wanted.due:
            self._due_known = self._take_due(loaded.due, wanted.due)
        for counter, at_most in wanted.due_on.items():
            self._due_known_on[counter] = self._take_due(loaded.due_on[counter], at_most)

    def _take_pending(self, found: Iterable[Row]) -> None:
        for row in found:
            id_ = row[0]
            if id_ not in self._reservations:
                self._reservations[id_] = rows.pending_of(row)
                if (step := rows.reserve_step_of(row)) is not None:
                    self.reserve_steps[id_] = step

    def _take_due(self, found: Sequence[Row], at_most: int) -> _Order:
        self._take_pending(found)
        self._maybe_due.update(dict.fromkeys([row[0] for row in found]))
        return _order_of(rows.pending_of(found[-1])) if len(found) >= at_most else _ALL

    def known(self, ids: Iterable[str]) -> list[Reservation]:
        """Those that are there."""
        return [found for id_ in ids if (found := self._reservations.get(id_)) is not None]

    def maybe_due(self) -> list[Reservation]:
        """Those that were read because their leases are over."""
        return self.known(self._maybe_due)

    # Primitives.

    def reservation(self, id_: str) -> Reservation | None:
        try:
            found = self._reservations[id_]
        except KeyError:
            raise NotLoaded(Wanted(reservations={id_})) from None
        return None if self._forgotten.get(id_) else found

    def put(self, reservation: Reservation, *, forget_ms: int | None) -> None:
        id_ = reservation.id
        self._set(self._reservations, id_, reservation)
        self._set(self._changed, id_, None)
        is_over = forget_ms is not None and forget_ms <= self.now_ms
        if is_over or self._at_once:
            self._set(self._at_once, id_, is_over)
            self._set(self._forgotten, id_, value=False)
        if forget_ms is not None:
            self._set(self._forget_ms, id_, forget_ms)
        elif reservation.is_due(self.now_ms):
            self._set(self._maybe_due, id_, None)

    def forget(self, _now_ms: int) -> None:
        """Those that were to be forgotten at once: all others whose time has come were not read."""
        for id_ in [id_ for id_, is_over in self._at_once.items() if is_over]:
            self._set(self._forgotten, id_, value=True)

    def due(self, now_ms: int, *, at_most: int, on: Counter | None = None) -> Sequence[Reservation]:
        known = self._due_known
        if known is not _ALL and on is not None:
            known = self._due_known_on.get(on, _NONE)
        elif known is _ALL and not self._maybe_due:
            return ()
        due = [each for each in self.known(self._maybe_due) if each.is_due(now_ms) and _order_of(each) <= known]
        if on is not None:
            due = [each for each in due if any(target.series == on for target in each.targets)]
        if len(due) < at_most and known is not _ALL:
            more = 2 * max(at_most, len(self._maybe_due))
            raise NotLoaded(Wanted(due=more) if on is None else Wanted(due_on={on: more}))
        return sorted(due, key=_order_of)[:at_most]

    def pending(self, on: Counter) -> Collection[Reservation]:
        if on not in self._pending_known:
            raise NotLoaded(Wanted(pending_on={on}))
        pending = [each for each in self._reservations.values() if each is not None and each.state is State.PENDING]
        return [each for each in pending if any(target.counter == on for target in each.targets)]

    def adjustment(self, id_: str) -> Adjustment | None:
        try:
            return self._adjustments[id_]
        except KeyError:
            raise NotLoaded(Wanted(adjustments={id_})) from None

    def put_adjustment(self, adjustment: Adjustment, *, forget_ms: int) -> None:
        self._set(self._adjustments, adjustment.id, adjustment)
        self._set(self._new_adjustments, adjustment.id, forget_ms)

    # What is to be written.

    def write(self, writes: Writes) -> None:
        for reservation in self.known(self._changed):
            id_ = reservation.id
            if reservation.state is State.PENDING:
                reserve = self.reserve_steps.get(id_)
                writes.put_pending.append(rows.pending_row(reservation, reserve_seq=reserve.seq if reserve else 0))
            else:
                writes.drop_pending.append(id_)
                writes.put_ended.append(rows.ended_row(reservation, forget_ms=self._forget_ms[id_]))
        for id_, forget_ms in self._new_adjustments.items():
            adjustment = self._adjustments[id_]
            assert adjustment is not None, "it was put"
            writes.put_adjustments.append(rows.adjustment_row(adjustment, forget_ms=forget_ms))


def _order_of(reservation: Reservation) -> _Order:
    return reservation.deadline_ms, reservation.id
