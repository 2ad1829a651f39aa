"""The pending reservations, and the operator's release of one."""

from dataclasses import dataclass

from budget_middleware.core.statuses import Status
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.rows import ChangedRow, HoldRow, changed_row, hold_row


async def list_holds(context: OperatorContext) -> list[HoldRow]:
    """Reservations whose lease is not over, the oldest first."""
    held = await context.store.holds()
    now_ms = (await context.store.head()).now_ms
    return [hold_row(hold, now_ms) for hold in held]


@dataclass(frozen=True, slots=True)
class ReleasedHold:
    """What a release gave back, counter by counter; ``why_not`` is empty where it was done."""

    changes: tuple[ChangedRow, ...] = ()
    why_not: str = ""


async def release_hold(context: OperatorContext, reservation_id: str, *, reason: str) -> ReleasedHold:
    """Release a pending reservation now and charge nothing. A later finalize of its owner is still booked."""
    answer = await context.ledger.expire(reservation_id, reason=reason)
    if answer.status is not Status.EXPIRED:
        return ReleasedHold(why_not=_WHY_NOT.get(answer.status, answer.status))
    # It may have expired other requests' reservations in passing.
    own = (entry for entry in answer.entries if entry.reservation_id == reservation_id)
    return ReleasedHold(tuple(changed_row(entry, reserved=True) for entry in own))


_WHY_NOT = {
    Status.UNKNOWN: "no reservation has that id",
    Status.ALREADY_FINALIZED: "its cost is booked already",
    Status.ALREADY_RELEASED: "it holds nothing any more",
    Status.ALREADY_EXPIRED: "its lease is over, it holds nothing any more",
}
