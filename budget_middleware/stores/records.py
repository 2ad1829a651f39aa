"""The reservations of the memory store: many are remembered, and few of them are asked for again."""

from budget_middleware.core.model import Reservation, State
from budget_middleware.stores.packing import pack_targets, unpack_targets

_STATES = {state.value: state for state in State}

_Record = tuple[str, str, int | None, int, int, int, int, str]
"""State, targets, amount, expiry charge, actual cost, when made, when due, trace: as texts and numbers alone, for a
full garbage collection looks at each other object, and every request waits for it."""


class Records:
    """Reservations by id."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def put(self, reservation: Reservation) -> None:
        id_, state, targets, amount, charge, actual, created, due, trace = reservation
        self._records[id_] = (state.value, pack_targets(targets), amount, charge, actual, created, due, trace)

    def get(self, id_: str) -> Reservation | None:
        record = self._records.get(id_)
        return self._read(id_, record) if record is not None else None

    def __getitem__(self, id_: str) -> Reservation:
        return self._read(id_, self._records[id_])

    def __delitem__(self, id_: str) -> None:
        del self._records[id_]

    def _read(self, id_: str, record: _Record) -> Reservation:
        state, targets, amount, charge, actual, created, due, trace = record
        return Reservation(id_, _STATES[state], unpack_targets(targets), amount, charge, actual, created, due, trace)
