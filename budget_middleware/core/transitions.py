r"""Every rule about what a reservation may become lives in this file, and only here.

Theory of operation. A reservation adds two figures to each of its counters: ``held_nanos`` to *reserved* and
``booked_nanos`` to *spent*; both follow from its state alone (see ``Reservation``). A verb therefore only says
what the reservation becomes, and ``postings`` derives what every counter gains or loses from the difference.
That is why ``reserved`` is always the sum of what is pending and ``spent`` the sum of what was booked.

State and time come in as arguments, the decision goes out as a value: ``stores/engine.py`` runs this file over the
tables of a store, the Lua scripts repeat it, and one conformance suite holds them together.

    none ---reserve---> PENDING ---finalize--> FINALIZED
      |                   |  \----release---> RELEASED
      |                   | lease over
      |                   v
      |                EXPIRED ---finalize--> FINALIZED   (late: replaces the expiry charge)
      |                        \--release---> RELEASED    (late: takes the expiry charge back)
      \---finalize---> FINALIZED (unreserved)   \---release---> RELEASED (tombstone)
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from budget_middleware.core.model import (
    Adjust,
    Adjustment,
    Balance,
    Extend,
    Finalize,
    Op,
    Rejection,
    Release,
    Reservation,
    Reserve,
    State,
    Status,
    Target,
    shortfall_nanos,
)

ENDINGS: Mapping[tuple[Op, State | None], Status] = MappingProxyType(
    {
        (Op.FINALIZE, None): Status.FINALIZED_UNRESERVED,
        (Op.FINALIZE, State.PENDING): Status.FINALIZED,
        (Op.FINALIZE, State.FINALIZED): Status.ALREADY_FINALIZED,
        (Op.FINALIZE, State.RELEASED): Status.ALREADY_RELEASED,
        (Op.FINALIZE, State.EXPIRED): Status.FINALIZED_LATE,
        (Op.RELEASE, None): Status.RELEASED_UNKNOWN,
        (Op.RELEASE, State.PENDING): Status.RELEASED,
        (Op.RELEASE, State.FINALIZED): Status.ALREADY_FINALIZED,
        (Op.RELEASE, State.RELEASED): Status.ALREADY_RELEASED,
        (Op.RELEASE, State.EXPIRED): Status.RELEASED_LATE,
    }
)
"""What an ending answers in each state (None: the id is unknown)."""

EXTENSIONS: Mapping[State | None, Status] = MappingProxyType(
    {
        None: Status.UNKNOWN,
        State.PENDING: Status.EXTENDED,
        State.FINALIZED: Status.ALREADY_FINALIZED,
        State.RELEASED: Status.ALREADY_RELEASED,
        State.EXPIRED: Status.ALREADY_EXPIRED,
    }
)
"""What extend and an operator's expire answer in each state; only PENDING is changed."""

_FINAL = frozenset({Status.ALREADY_FINALIZED, Status.ALREADY_RELEASED})


FULL_NANOS = 10**17
"""Nano-dollars that no budget has: a figure of a counter that shows so much is damaged, or nearly.

Such a counter takes no more holds. Stores keep figures in 64 bits, and the endings of the holds that a counter has must
never leave their range. A power of ten, so that a script can tell it by the number of digits: it cannot compare so
large numbers exactly.
"""


class CounterFull(Exception):
    """A counter takes no more holds: see FULL_NANOS."""


class Posting(NamedTuple):
    """What one counter gains or loses."""

    target: Target
    spent_nanos: int
    reserved_nanos: int


class Decision(NamedTuple):
    """What a verb answers, what is to be remembered (None: as before) and what is to be booked."""

    status: Status
    becomes: Reservation | None = None
    postings: tuple[Posting, ...] = ()
    rejection: Rejection | None = None


def reserve(
    known: Reservation | None,
    verb: Reserve,
    *,
    balances: Sequence[Balance],
    limits_version: int,
    leases_due: bool,
    now_ms: int,
) -> Decision:
    """Hold the amount on all targets or on none. CounterFull where none may be held.

    ``known`` has been expired already if its lease is over; ``balances`` are those of the targets, in their order,
    after the due leases of these counters that one call may expire; ``leases_due`` says that some are left.
    """
    if known is not None:
        return Decision(Status.DUPLICATE if _same_arguments(known, verb) else Status.CONFLICT)
    if _is_outside(verb.targets, now_ms):
        return Decision(Status.STALE_WINDOW)
    if verb.limits_version != limits_version:
        return Decision(Status.STALE_LIMITS)
    rejection = find_rejection(verb.targets, balances, estimate_nanos=verb.amount_nanos)
    if rejection is not None and rejection.is_held and leases_due:
        return Decision(Status.LEASES_DUE)
    if rejection is not None and verb.enforce:
        return Decision(Status.REJECTED, rejection=rejection)
    if verb.amount_nanos:
        _check_not_full(verb.targets, balances)
    reserved = Reservation(
        id=verb.id,
        state=State.PENDING,
        targets=verb.targets,
        amount_nanos=verb.amount_nanos,
        expiry_charge_nanos=verb.expiry_charge_nanos,
        created_ms=now_ms,
        deadline_ms=now_ms + verb.lease_ms,
        trace=verb.trace,
    )
    return Decision(Status.RESERVED, reserved, postings(None, reserved), rejection)


def _is_outside(targets: Sequence[Target], now_ms: int) -> bool:
    """Whether the window of any target is not the current one."""
    for target in targets:  # noqa: SIM110 - a generator takes three times as long, and every reserve asks
        if not target.window.starts_ms <= now_ms < target.window.ends_ms:
            return True
    return False


def _check_not_full(targets: Sequence[Target], balances: Sequence[Balance]) -> None:
    for at, (spent_nanos, reserved_nanos) in enumerate(balances):
        if spent_nanos >= FULL_NANOS or reserved_nanos >= FULL_NANOS:
            raise CounterFull("counter {}|{}|{} is full".format(*targets[at].counter))


def find_rejection(targets: Sequence[Target], balances: Sequence[Balance], *, estimate_nanos: int) -> Rejection | None:
    """The counter to name in a refusal: *spent* before *held*, then the larger shortfall, then the first.

    An estimate of 0 is always admitted: a free model stays usable when the budget is spent.
    """
    if estimate_nanos == 0:
        return None
    worst: Rejection | None = None
    for target, balance in zip(targets, balances, strict=True):
        limit_nanos = target.limit_nanos
        if limit_nanos is None:
            continue
        if shortfall_nanos(balance, estimate_nanos=estimate_nanos, limit_nanos=limit_nanos) > 0:
            found = Rejection(target, balance, estimate_nanos)
            if worst is None or _severity(found) > _severity(worst):
                worst = found
    return worst


def _severity(rejection: Rejection) -> tuple[bool, int]:
    return not rejection.is_held, rejection.shortfall_nanos


def _same_arguments(known: Reservation, verb: Reserve) -> bool:
    """Same accounts and amount. A tombstone remembers no amount, so any reserve that it outran is the same."""
    if known.amount_nanos is None:
        return True
    return known.amount_nanos == verb.amount_nanos and _accounts(known.targets) == _accounts(verb.targets)


def _accounts(targets: Sequence[Target]) -> list[str]:
    """Accounts without their windows: a retry may come after a window has turned or a period was added."""
    return sorted({target.account for target in targets})


def finalize(known: Reservation | None, verb: Finalize, *, remember_ms: int) -> Decision:
    """Book the actual cost in the windows in which the reservation was made."""
    status = ENDINGS[Op.FINALIZE, known.state if known else None]
    if status in _FINAL:
        return Decision(status)
    if known is None:
        if verb.age_ms > remember_ms:
            return Decision(Status.TOO_OLD)
        known = Reservation(verb.id, State.RELEASED, verb.targets, amount_nanos=None)
    ended = known._replace(state=State.FINALIZED, actual_nanos=verb.actual_nanos)
    return Decision(status, ended, postings(known, ended))


def release(known: Reservation | None, verb: Release, *, remember_ms: int) -> Decision:
    """Give the hold back. Of an unknown id a tombstone stays, so that a delayed reserve holds nothing."""
    status = ENDINGS[Op.RELEASE, known.state if known else None]
    if status in _FINAL:
        return Decision(status)
    if known is None:
        if verb.age_ms > remember_ms:
            return Decision(Status.TOO_OLD)
        return Decision(status, Reservation(verb.id, State.RELEASED, targets=(), amount_nanos=None))
    ended = known._replace(state=State.RELEASED)
    return Decision(status, ended, postings(known, ended))


def extend(known: Reservation | None, verb: Extend, *, now_ms: int) -> Decision:
    """Renew a lease from now on. Only its owner knows the id; no other verb moves a deadline."""
    status = EXTENSIONS[known.state if known else None]
    if known is None or status is not Status.EXTENDED:
        return Decision(status)
    return Decision(status, known._replace(deadline_ms=now_ms + verb.lease_ms))


def expire_due(known: Reservation) -> Decision:
    """The lease is over: give the hold back, book the expiry charge, stay open to one late ending."""
    expired = known._replace(state=State.EXPIRED)
    return Decision(Status.EXPIRED, expired, postings(known, expired))


def expire_now(known: Reservation | None) -> Decision:
    """An operator's release: as if the lease were over, with no charge. The owner may still finalize late."""
    status = EXTENSIONS[known.state if known else None]
    if known is None or status is not Status.EXTENDED:
        return Decision(status)
    expired = known._replace(state=State.EXPIRED, expiry_charge_nanos=0)
    return Decision(Status.EXPIRED, expired, postings(known, expired))


def adjust(known: Adjustment | None, verb: Adjust, *, now_ms: int) -> Decision:
    """Correct *spent* by hand, once an id."""
    if known is not None:
        same = known.amount_nanos == verb.amount_nanos and _accounts(known.targets) == _accounts(verb.targets)
        return Decision(Status.DUPLICATE if same else Status.CONFLICT)
    if not verb.any_window and _is_outside(verb.targets, now_ms):
        return Decision(Status.STALE_WINDOW)
    targets = verb.targets if verb.amount_nanos else ()
    return Decision(Status.ADJUSTED, postings=tuple(Posting(target, verb.amount_nanos, 0) for target in targets))


def postings(before: Reservation | None, after: Reservation) -> tuple[Posting, ...]:
    """What the counters gain as ``before`` becomes ``after``; a counter that does not change has no posting."""
    spent = after.booked_nanos - (before.booked_nanos if before else 0)
    reserved = after.held_nanos - (before.held_nanos if before else 0)
    if spent == reserved == 0:
        return ()
    return tuple([Posting(target, spent, reserved) for target in after.targets])
