"""The bill of a reservation, wherever it was booked: by itself, by another one, or by one that was corrected since.

What a call costs is mostly booked by the reservation that the client knows. A response in the background is booked by
another one, whose id follows from the response's, and corrected by an adjustment once its usage is told; a guard behind
a guard books for both. Reasons in the journal name the other id, so the way is followed from entry to entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from budget_middleware.cli.bill_table import bill_document, say_bill
from budget_middleware.cli.evidence import dollars, entries_of
from budget_middleware.cli.output import Row, say, usd
from budget_middleware.core.bill import ItemizedBill, unpack
from budget_middleware.core.charges import BOOKED_BY, CORRECTS
from budget_middleware.core.model import Entry, Op
from budget_middleware.stores.base import Store


@dataclass(frozen=True, slots=True)
class ReservationBill:
    """What was booked for a reservation, by whichever id. ``bill`` is None where none was kept that can be read."""

    booked_by: str
    booking: Entry
    correction: Entry | None

    @property
    def _last(self) -> Entry:
        return self.correction or self.booking

    @property
    def bill(self) -> ItemizedBill | None:
        """The bill that counts in the end."""
        return unpack(self._last.bill)

    @property
    def reason(self) -> str:
        """What the bill that counts was decided by."""
        return "" if self.correction else self.booking.reason


async def find_bill(store: Store, id_: str, entries: Sequence[Entry]) -> ReservationBill | None:
    """The bill of a reservation with these entries; None where nothing was booked by a finalize."""
    booked_by = next((_named_in(entry) for entry in entries if _named_in(entry)), "") or id_
    if booked_by != id_ or not any(entry.op is Op.FINALIZE for entry in entries):
        entries = await entries_of(store, lambda entry: entry.reservation_id == booked_by)
    booking = next((entry for entry in entries if entry.op is Op.FINALIZE), None)
    if booking is None:
        return None
    corrections = await entries_of(store, lambda entry: entry.reason == f"{CORRECTS}{booked_by}")
    correction = next((entry for entry in corrections if entry.counter == booking.counter), None)
    return ReservationBill(booked_by, booking, correction)


def _named_in(entry: Entry) -> str:
    """The id of the reservation that has booked instead, as the reason of a release names it."""
    return entry.reason.removeprefix(BOOKED_BY).partition("+")[0] if entry.reason.startswith(BOOKED_BY) else ""


def say_reservation_bill(found: ReservationBill, id_: str) -> None:
    """Write the bill, after a line on who has booked it if that was another one."""
    bill = found.bill
    if bill is None:
        say("No itemized bill was kept with it, or none that this version can read.")
        return
    models = ", ".join(bill.models)
    say(f"Bill{f' of {found.booked_by}, which booked it' if found.booked_by != id_ else ''}: {models or 'no model'}")
    say_bill(bill, reason=found.reason)
    if found.correction is not None:
        first = dollars(found.booking.spent_delta)
        by = dollars(found.correction.spent_delta)
        say(f"Booked at {first} first, and corrected by {by} once its usage was told.")


def reservation_bill_document(found: ReservationBill | None) -> Row | None:
    """The bill for JSON; None where none is known."""
    bill = found.bill if found else None
    if found is None or bill is None:
        return None
    correction = found.correction
    return {
        **bill_document(bill, reason=found.reason),
        "booked_by": found.booked_by,
        "corrected_by_usd": usd(correction.spent_delta) if correction else None,
    }
