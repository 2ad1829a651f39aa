"""The rows of a ledger's tables, and the values that they are."""

from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import astuple

from budget_middleware.core.model import Adjustment, Balance, Counter, Reservation
from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.units import NOTHING
from budget_middleware.stores.records.records import (
    counter_named,
    pack_amounts,
    pack_asked,
    pack_targets,
    unpack_amounts,
    unpack_targets,
)
from budget_middleware.stores.sql.batch_data import Row
from budget_middleware.stores.tables import ByHand, CounterRow, Step

named_counter = lru_cache(4_096)(counter_named)


class ReserveStep(NamedTuple):
    """Where the journal has the step of a reserve: ``entries`` is that of the step, which has ``n_entries``."""

    seq: int
    entries: int
    n_entries: int


def pending_row(reservation: Reservation, *, reserve_seq: int) -> Row:
    id_, _, targets, asked, held, charge, _, created_ms, deadline_ms, trace = astuple(reservation)
    return (
        id_,
        pack_targets(targets),
        pack_asked(asked or NOTHING),
        pack_amounts(held),
        pack_amounts(charge),
        created_ms,
        deadline_ms,
        trace,
        reserve_seq,
    )


def pending_of(row: Row) -> Reservation:
    id_, targets, asked, held, charge, created_ms, deadline_ms, trace, *_ = row
    return Reservation(
        id_,
        State.PENDING,
        unpack_targets(targets),
        unpack_amounts(asked),
        unpack_amounts(held),
        unpack_amounts(charge),
        NOTHING,
        created_ms,
        deadline_ms,
        trace,
    )


def reserve_step_of(row: Row) -> ReserveStep | None:
    """Of a row of ``pending`` as a batch reads it."""
    *_, seq, entries, figures = row
    return ReserveStep(seq, entries, n_entries_of(figures)) if entries is not None else None


def ended_row(reservation: Reservation, *, forget_ms: int) -> Row:
    id_, state, targets, asked, _, charge, actual, created_ms, _, _ = astuple(reservation)
    return (
        id_,
        state.value,
        pack_targets(targets),
        None if asked is None else pack_asked(asked),
        pack_amounts(charge),
        pack_amounts(actual),
        created_ms,
        forget_ms,
    )


def ended_of(row: Row) -> Reservation:
    id_, state, targets, asked, charge, actual, created_ms, _ = row
    return Reservation(
        id_,
        State(state),
        unpack_targets(targets),
        None if asked is None else unpack_amounts(asked),
        NOTHING,
        unpack_amounts(charge),
        unpack_amounts(actual),
        created_ms,
    )


def adjustment_row(adjustment: Adjustment, *, forget_ms: int) -> Row:
    targets, amount = pack_targets(adjustment.targets), pack_amounts(adjustment.amount)
    return adjustment.id, targets, amount, adjustment.n_sources, adjustment.as_of, forget_ms


def adjustment_of(row: Row) -> Adjustment:
    id_, targets, amount, n_sources, as_of, _ = row
    return Adjustment(id_, unpack_targets(targets), unpack_amounts(amount), n_sources, as_of)


def counter_of(row: Row) -> tuple[Counter, CounterRow]:
    name, spent, reserved, adjusted, repaired_at_seq, _ = row
    return named_counter(name), CounterRow(Balance(spent, reserved), ByHand(adjusted, repaired_at_seq))


def step_row(step: Step) -> Row:
    last_seq, bookings, entries, time_ms, op, id_, status, targets, figures, *texts = astuple(step)
    packed = pack_targets(targets), " ".join(map(str, figures))
    return last_seq, bookings, entries, time_ms, op.value, id_, status.value, *packed, *texts


def step_of(row: Row) -> Step:
    last_seq, bookings, entries, time_ms, op, id_, status, targets, figures, *texts = row
    numbers = tuple(map(int, figures.split()))
    decided = Op(op), id_, Status(status), unpack_targets(targets), numbers
    return Step(last_seq, bookings, entries, time_ms, *decided, *texts)


def n_entries_of(figures: str) -> int:
    """How many entries a step of these figures has: each has four, with spaces between them."""
    return (figures.count(" ") + 1) // 4
