"""The pending reservations, and the operator's release of one."""

from dataclasses import dataclass

from budget_middleware.core.model import Reservation
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger.jobs.tickets import JobTicket, tickets_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.rows import ChangedRow, changed_row
from budget_middleware.operations.values import OMITTED, Omitted, ids_of_trace, iso


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A pending reservation. ``asked`` is what its reserve asked for, omitted unless it has grown to ``amount``.

    Of a ticket ``job`` is what it is held for, and its deadline is when its lease ends; omitted of any other.
    """

    id: str
    accounts: tuple[str, ...]
    amount: Amounts
    asked: Amounts | Omitted
    age_s: float
    expires_in_s: float
    job: str | Omitted
    deadline: str | Omitted
    trace_id: str | None


def hold_row(hold: Reservation, now_ms: int, ticket: JobTicket | None = None) -> HoldRow:
    return HoldRow(
        hold.id,
        tuple(dict.fromkeys(target.account for target in hold.targets)),
        amount=hold.held,
        asked=hold.grown_from or OMITTED,
        age_s=(now_ms - hold.created_ms) / 1000,
        expires_in_s=(hold.deadline_ms - now_ms) / 1000,
        trace_id=ids_of_trace(hold.trace)[0],
        job=f"{ticket.api} {ticket.job}" if ticket else OMITTED,
        deadline=iso(hold.deadline_ms) if ticket else OMITTED,
    )


async def list_holds(context: OperatorContext) -> list[HoldRow]:
    """Reservations whose lease is not over, the oldest first."""
    held = await context.store.holds()
    now_ms = (await context.store.head()).now_ms
    tickets = await tickets_of(context.store, [hold.id for hold in held])
    return [hold_row(hold, now_ms, tickets.get(hold.id)) for hold in held]


@dataclass(frozen=True, slots=True)
class ReleasedHold:
    """What a release gave back, counter by counter; ``why_not`` is empty where it was done."""

    changes: tuple[ChangedRow, ...] = ()
    why_not: str = ""
    is_unknown: bool = False


async def release_hold(context: OperatorContext, reservation_id: str, *, reason: str) -> ReleasedHold:
    """Release a pending reservation now and charge nothing. A later finalize of its owner is still booked."""
    answer = await context.ledger.expire(reservation_id, reason=reason)
    if answer.status is not Status.EXPIRED:
        why_not = _WHY_NOT.get(answer.status, answer.status)
        return ReleasedHold(why_not=why_not, is_unknown=answer.status is Status.UNKNOWN)
    # It may have expired other requests' reservations in passing.
    own = (entry for entry in answer.entries if entry.reservation_id == reservation_id)
    return ReleasedHold(tuple(changed_row(entry, reserved=True) for entry in own))


_WHY_NOT = {
    Status.UNKNOWN: "no reservation has that id",
    Status.ALREADY_FINALIZED: "its cost is booked already",
    Status.ALREADY_RELEASED: "it holds nothing any more",
    Status.ALREADY_EXPIRED: "its lease is over, it holds nothing any more",
}
