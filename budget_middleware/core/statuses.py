"""What verbs are called, what they may answer, and what a reservation is at one instant."""

from collections.abc import Mapping
from types import MappingProxyType

from budget_middleware.core.fast import FastStrEnum


class State(FastStrEnum):
    """What a reservation is at one instant."""

    PENDING = "pending"
    FINALIZED = "finalized"
    RELEASED = "released"
    EXPIRED = "expired"


class Op(FastStrEnum):
    """The verbs that change counters, as the journal and the spans name them."""

    RESERVE = "reserve"
    FINALIZE = "finalize"
    RELEASE = "release"
    GROW = "grow"
    EXPIRE = "expire"
    ADJUST = "adjust"
    TRANSFER = "transfer"


class Status(FastStrEnum):
    """Every answer that a verb can get. An outage is an exception, never a status."""

    # Asks the ledger to refresh what it sent and to repeat: nothing was decided.
    STALE_WINDOW = "stale_window"
    STALE_LIMITS = "stale_limits"
    LEASES_DUE = "leases_due"

    RESERVED = "reserved"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"

    GROWN = "grown"

    FINALIZED = "finalized"
    FINALIZED_LATE = "finalized_late"
    FINALIZED_UNRESERVED = "finalized_unreserved"
    RELEASED = "released"
    RELEASED_LATE = "released_late"
    RELEASED_UNKNOWN = "released_unknown"
    ALREADY_FINALIZED = "already_finalized"
    ALREADY_RELEASED = "already_released"
    ALREADY_EXPIRED = "already_expired"
    TOO_OLD = "too_old"

    EXTENDED = "extended"
    EXPIRED = "expired"
    ADJUSTED = "adjusted"
    TRANSFERRED = "transferred"
    REPAIRED = "repaired"
    UNKNOWN = "unknown"

    @property
    def is_transient(self) -> bool:
        """Whether the same verb, refreshed, may be decided at the next try."""
        return self in TRANSIENT


TRANSIENT = frozenset({Status.STALE_WINDOW, Status.STALE_LIMITS, Status.LEASES_DUE})


OPS: Mapping[Status, Op] = MappingProxyType(
    {
        Status.RESERVED: Op.RESERVE,
        Status.FINALIZED: Op.FINALIZE,
        Status.FINALIZED_LATE: Op.FINALIZE,
        Status.FINALIZED_UNRESERVED: Op.FINALIZE,
        Status.RELEASED: Op.RELEASE,
        Status.RELEASED_LATE: Op.RELEASE,
        Status.RELEASED_UNKNOWN: Op.RELEASE,
        Status.GROWN: Op.GROW,
        Status.EXPIRED: Op.EXPIRE,
        Status.ADJUSTED: Op.ADJUST,
        Status.TRANSFERRED: Op.TRANSFER,
        Status.REPAIRED: Op.ADJUST,
    }
)
"""Which verb has changed counters where the journal has such a status."""


BOOKED_BY_HAND = frozenset({Status.ADJUSTED, Status.TRANSFERRED})
"""Operators' own bookings: they count as *adjusted* beside *spent*."""


RETURNS_RECORDED = frozenset(
    {
        Status.DUPLICATE,
        Status.CONFLICT,
        Status.ALREADY_FINALIZED,
        Status.ALREADY_RELEASED,
        Status.ALREADY_EXPIRED,
    }
)
"""The answers that change nothing and return the recorded reservation instead."""


ONLY_HOLD = frozenset({Op.RESERVE, Op.GROW})
"""The verbs that change *reserved* alone."""

_RELEASED = Status.RELEASED


def may_book(op: Op, status: Status) -> bool:
    """Whether such an entry may change *spent*. Those of a reserve and its release may leave the journal early."""
    return op not in ONLY_HOLD and status is not _RELEASED
