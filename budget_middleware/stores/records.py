"""The reservations of the memory store: many are remembered, and few of them are asked for again."""

from budget_middleware.core.model import Reservation, State
from budget_middleware.stores.packing import pack_targets, unpack_targets

_Record = tuple[str, str, int | None, int, int, int, int, str]
"""State, targets, amount, expiry charge, actual cost, when made, when due, trace: as texts and numbers alone, for a
full garbage collection looks at each other object, and every request waits for it."""


class Records:
    """Reservations by id. Those that are pending are few, and kept as they are: their ending asks for them soon."""

    def __init__(self) -> None:
        self._records: dict[str, Reservation | _Record] = {}

    def put(self, reservation: Reservation) -> None:
        is_pending = reservation.state is State.PENDING
        self._records[reservation.id] = reservation if is_pending else _record_of(reservation)

    def get(self, id_: str) -> Reservation | None:
        return self[id_] if id_ in self._records else None

    def __getitem__(self, id_: str) -> Reservation:
        found = self._records[id_]
        return found if isinstance(found, Reservation) else _reservation_of(id_, found)

    def __delitem__(self, id_: str) -> None:
        del self._records[id_]


def _record_of(reservation: Reservation) -> _Record:
    _, state, targets, amount, charge, actual, created, due, trace = reservation
    return state.value, pack_targets(targets), amount, charge, actual, created, due, trace


def _reservation_of(id_: str, record: _Record) -> Reservation:
    state, targets, amount, charge, actual, created, due, trace = record
    return Reservation(id_, State(state), unpack_targets(targets), amount, charge, actual, created, due, trace)
