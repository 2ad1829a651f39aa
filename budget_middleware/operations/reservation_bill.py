"""Finds the bill of a reservation: its own, that of another reservation that booked it, or a corrected one.

What a call costs is mostly booked by the reservation that the client knows. A response in the background is booked by
another one, whose id follows from the response's, and corrected by an adjustment once its usage is known; a guard
behind a guard books for both. Reasons in the journal name the other id, so the way is followed from entry to entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from budget_middleware.core.answers import Entry
from budget_middleware.core.costs.bill import unpack
from budget_middleware.core.costs.charges import BOOKED_BY, CORRECTS
from budget_middleware.core.statuses import Op
from budget_middleware.core.units import PLACES
from budget_middleware.operations.bills import BillRow, bill_row
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.reaching_back import entries_of_reservation, entries_with_reason
from budget_middleware.operations.values import NOT_IN_JSON, Figure, figure, values_of


@dataclass(frozen=True, slots=True)
class ReservationBill(BillRow):
    """The bill that counts in the end. ``first`` is what was booked before ``corrected_by``."""

    booked_by: str
    corrected_by: Figure | None
    first: Figure = field(metadata=NOT_IN_JSON)


@dataclass(frozen=True, slots=True)
class _Booking:
    """What was booked for a reservation, by whichever id."""

    booked_by: str
    entry: Entry
    correction: Entry | None


@dataclass(frozen=True, slots=True)
class FoundBill:
    """Whether anything was booked by a finalize; ``bill`` is None where none was kept that can be read."""

    is_booked: bool
    bill: ReservationBill | None = None


async def find_bill(context: OperatorContext, id_: str, entries: Sequence[Entry]) -> FoundBill:
    """The bill of a reservation with these entries."""
    booking = await _find_booking(context, id_, entries)
    return FoundBill(is_booked=True, bill=_bill_of(booking)) if booking else FoundBill(is_booked=False)


async def _find_booking(context: OperatorContext, id_: str, entries: Sequence[Entry]) -> _Booking | None:
    booked_by = next((_named_in(entry) for entry in entries if _named_in(entry)), "") or id_
    if booked_by != id_ or not any(entry.op is Op.FINALIZE for entry in entries):
        entries = await entries_of_reservation(context, booked_by)
    # A bill is of money.
    finalized = (entry for entry in entries if entry.op is Op.FINALIZE)
    booking = min(finalized, key=lambda entry: PLACES[entry.counter.unit], default=None)
    if booking is None:
        return None
    corrections = await entries_with_reason(context, f"{CORRECTS}{booked_by}")
    correction = next((entry for entry in corrections if entry.counter == booking.counter), None)
    return _Booking(booked_by, booking, correction)


def _named_in(entry: Entry) -> str:
    """The id of the reservation that has booked instead, as the reason of a release names it."""
    return entry.reason.removeprefix(BOOKED_BY).partition("+")[0] if entry.reason.startswith(BOOKED_BY) else ""


def _bill_of(booking: _Booking) -> ReservationBill | None:
    correction, unit = booking.correction, booking.entry.counter.unit
    bill = unpack((correction or booking.entry).bill)
    if bill is None:
        return None
    return ReservationBill(
        **values_of(bill_row(bill, reason="" if correction else booking.entry.reason)),
        booked_by=booking.booked_by,
        corrected_by=figure(correction.spent_delta, unit) if correction else None,
        first=figure(booking.entry.spent_delta, unit),
    )
