r"""Every rule about what a reservation may become lives in this file, and only here.

Theory of operation. A reservation adds two figures to each of its counters: ``held`` to *reserved* and ``booked`` to
*spent*, both in the unit of the counter; both follow from what the reservation is (see ``Reservation``). A verb
therefore only says what the reservation becomes, and ``postings`` derives what every counter gains or loses from the
difference. That is why ``reserved`` is always the sum of what is pending and ``spent`` the sum of what was booked.
Units never meet: each rule holds for each of them by itself.

State and time come in as arguments, the decision goes out as a value: ``stores/engine/`` runs this file over the
tables of a store, the Lua scripts repeat it, and one conformance suite holds them together.

    none ---reserve---> PENDING ---finalize--> FINALIZED      (extend and grow: PENDING, with a later deadline)
      |                   |  \----release---> RELEASED
      |                   | lease over
      |                   v
      |                EXPIRED ---finalize--> FINALIZED   (late: replaces the expiry charge)
      |                        \--release---> RELEASED    (late: takes the expiry charge back)
      \---finalize---> FINALIZED (unreserved)   \---release---> RELEASED (tombstone)
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import sub
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from budget_middleware.core.model import Adjustment, Balance, OncePerTargets, Rejection, Reservation, Target
from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.core.verbs import Adjust, Extend, Finalize, Grow, Release, Reserve, Transfer

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
"""What extend answers in each state, and grow and an operator's expire in all but PENDING; only that is changed."""

_FINAL = frozenset({Status.ALREADY_FINALIZED, Status.ALREADY_RELEASED})

# Of what every request asks: Python 3.11 takes ten times as long to find the member of an enum as a global.
_RESERVED, _FINALIZE = Status.RESERVED, Op.FINALIZE
_PENDING, _FINALIZED, _EXPIRED = State.PENDING, State.FINALIZED, State.EXPIRED


FULL = 10**17
"""What no budget has in any unit: a figure of a counter that shows so much is damaged, or nearly.

Such a counter takes no more holds. Stores keep figures in 64 bits, and the endings of the holds that a counter has must
never leave their range. A power of ten, so that a script can recognize it by the number of digits: it cannot compare so
large numbers exactly.
"""


class CounterFull(Exception):
    """A counter takes no more holds: see FULL."""


class Posting(Struct, frozen=True, gc=False):
    """What one counter gains or loses, in its unit."""

    target: Target
    spent: int
    reserved: int


class Decision(Struct, frozen=True, gc=False):
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
    bound: Sequence[Target] = (),
) -> Decision:
    """Hold what is asked on all targets or on none. CounterFull where none may be held.

    ``known`` has been expired already if its lease is over; ``balances`` are those of the targets, in their order,
    after the due leases of these counters that one call may expire; ``leases_due`` says that some are left. ``bound``
    are the targets under the limits that bind now, where those are not their own: what is carried over is in them.
    """
    if known is not None:
        return Decision(Status.DUPLICATE if _same_arguments(known, verb) else Status.CONFLICT)
    if _is_outside(verb.targets, now_ms):
        return Decision(Status.STALE_WINDOW)
    if verb.limits_version != limits_version:
        return Decision(Status.STALE_LIMITS)
    rejection = find_rejection(bound or verb.targets, balances, asked=verb.asked)
    if rejection is not None and rejection.is_held and leases_due:
        return Decision(Status.LEASES_DUE)
    if rejection is not None and verb.enforce:
        return Decision(Status.REJECTED, rejection=rejection)
    _check_not_full(verb.targets, balances, verb.asked)
    asked, deadline_ms = verb.asked, now_ms + verb.lease_ms
    reserved = Reservation(
        verb.id, _PENDING, verb.targets, asked, asked, verb.expiry_charge, NOTHING, now_ms, deadline_ms, verb.trace
    )
    return Decision(_RESERVED, reserved, postings(None, reserved), rejection)


def _is_outside(targets: Sequence[Target], now_ms: int) -> bool:
    """Whether the window of any target is not the current one."""
    for target in targets:  # noqa: SIM110 - a generator takes three times as long, and every reserve asks
        if not target.window.starts_ms <= now_ms < target.window.ends_ms:
            return True
    return False


def _check_not_full(targets: Sequence[Target], balances: Sequence[Balance], asked: Amounts) -> None:
    for target, balance in zip(targets, balances, strict=True):
        if (balance.spent >= FULL or balance.reserved >= FULL) and asked[target.place]:
            raise CounterFull(f"counter {target.counter.name} is full")


def find_rejection(targets: Sequence[Target], balances: Sequence[Balance], *, asked: Amounts) -> Rejection | None:
    """The counter to name in a refusal: *spent* before *held*, then by unit, then the larger shortfall, then the first.

    An estimate of 0 is always admitted: a free model stays usable when the budget is spent.
    """
    worst: Rejection | None = None
    for target, balance in zip(targets, balances, strict=True):
        limit, estimate = target.limit, asked[target.place]
        if limit is not None and estimate and balance.spent + balance.reserved + estimate > limit:
            found = Rejection(target, balance, estimate)
            if worst is None or _severity(found) > _severity(worst):
                worst = found
    return worst


def _severity(rejection: Rejection) -> tuple[bool, int, int]:
    return not rejection.is_held, -rejection.target.place, rejection.shortfall


def _same_arguments(known: Reservation, verb: Reserve) -> bool:
    """Same accounts and amounts. A tombstone remembers none, so any reserve that it outran is the same.

    Of the units that only one of them has a counter of, the other asked for nothing: a limit came or went between them.
    """
    asked = known.asked
    if asked is None:
        return True
    are_amounts_same = asked == verb.asked or all(
        asked[place] == verb.asked[place] for place in _places(known.targets) & _places(verb.targets)
    )
    return are_amounts_same and _accounts(known.targets) == _accounts(verb.targets)


def _places(targets: Sequence[Target]) -> set[int]:
    return {target.place for target in targets}


def _accounts(targets: Sequence[Target]) -> list[str]:
    """Accounts without their windows: a retry may come after a window has turned or a period was added."""
    return sorted({target.account for target in targets})


def finalize(known: Reservation | None, verb: Finalize, *, remember_ms: int) -> Decision:
    """Book the actual cost in the windows in which the reservation was made."""
    status = ENDINGS[_FINALIZE, known.state if known else None]
    if status in _FINAL:
        return Decision(status)
    if known is None:
        if verb.age_ms > remember_ms:
            return Decision(Status.TOO_OLD)
        known = Reservation(verb.id, State.RELEASED, verb.targets, asked=None)
    ended = _over(known, _FINALIZED, actual=verb.actual)
    return Decision(status, ended, postings(known, ended))


def release(known: Reservation | None, verb: Release, *, remember_ms: int) -> Decision:
    """Give the hold back. Of an unknown id a tombstone stays, so that a delayed reserve holds nothing."""
    status = ENDINGS[Op.RELEASE, known.state if known else None]
    if status in _FINAL:
        return Decision(status)
    if known is None:
        if verb.age_ms > remember_ms:
            return Decision(Status.TOO_OLD)
        return Decision(status, None if verb.forgets else _tombstone(verb.id))
    ended = _over(known, State.RELEASED)
    return Decision(status, ended, postings(known, ended))


def _tombstone(id_: str) -> Reservation:
    return Reservation(id_, State.RELEASED, targets=(), asked=None)


def extend(known: Reservation | None, verb: Extend, *, now_ms: int) -> Decision:
    """Renew a lease from now on. Only its owner knows the id; no verb but a grow moves a deadline as well.

    It only ever gets later: a renewal that the network has held back ends no lease sooner than a newer one has said.
    """
    status = EXTENSIONS[known.state if known else None]
    if known is None or status is not Status.EXTENDED:
        return Decision(status)
    return Decision(status, replace(known, deadline_ms=max(known.deadline_ms, now_ms + verb.lease_ms)))


def grow(known: Reservation | None, verb: Grow, *, balances: Sequence[Balance], now_ms: int) -> Decision:
    """Hold more where the answer has come to more, whatever the limits, and renew the lease.

    ``balances`` are those of the reservation's targets. CounterFull where no more may be held. The charge of an expiry
    stays as the reserve agreed, and ``asked``, by which a repeated reserve is known, does too.
    """
    status = EXTENSIONS[known.state if known else None]
    if known is None or status is not Status.EXTENDED:
        return Decision(status)
    held = Amounts(*map(max, known.held, verb.to))
    _check_not_full(known.targets, balances, Amounts(*map(sub, held, known.held)))
    grown = replace(known, held=held, deadline_ms=max(known.deadline_ms, now_ms + verb.lease_ms))
    return Decision(Status.GROWN, grown, postings(known, grown))


def expire_due(known: Reservation) -> Decision:
    """The lease is over: give the hold back, book the expiry charge, stay open to one late ending."""
    expired = _over(known, State.EXPIRED, expiry_charge=known.expiry_charge)
    return Decision(Status.EXPIRED, expired, postings(known, expired))


def expire_now(known: Reservation | None) -> Decision:
    """An operator's release: as if the lease were over, with no charge. The owner may still finalize late."""
    status = EXTENSIONS[known.state if known else None]
    if known is None or status is not Status.EXTENDED:
        return Decision(status)
    expired = _over(known, State.EXPIRED)
    return Decision(Status.EXPIRED, expired, postings(known, expired))


def _over(
    known: Reservation, state: State, *, expiry_charge: Amounts = NOTHING, actual: Amounts = NOTHING
) -> Reservation:
    """What is remembered of one that is not pending any more."""
    # A late ending of an expired one shows its limits in the journal; once it has ended nothing does.
    targets = known.targets if state is _EXPIRED else _without_limits(known.targets)
    return Reservation(known.id, state, targets, known.asked, NOTHING, expiry_charge, actual, known.created_ms)


@OncePerTargets
def _without_limits(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    return tuple([Target(target.account, target.window, None, target.unit, target.carry) for target in targets])


def adjust(known: Adjustment | None, verb: Adjust, *, now_ms: int) -> Decision:
    """Correct *spent* by hand, once an id; or lead what an id has booked to an amount, if that is a later one."""
    before = NOTHING
    if known is not None:
        is_known_so = not known.n_sources and bool(known.as_of) is bool(verb.as_of)
        is_same = _are_counters_same if verb.as_of else _is_same_adjustment
        if not (is_known_so and is_same(known, verb.targets, verb.amount)):
            return Decision(Status.CONFLICT)
        if known.as_of >= verb.as_of:
            return Decision(Status.DUPLICATE)
        before = known.amount
    if not verb.any_window and _is_outside(verb.targets, now_ms):
        return Decision(Status.STALE_WINDOW)
    changes = [(target, verb.amount[target.place] - before[target.place]) for target in verb.targets]
    return Decision(Status.ADJUSTED, postings=_spent_postings(changes))


def _are_counters_same(known: Adjustment, targets: Sequence[Target], _: Amounts) -> bool:
    """Of one with ``as_of`` the amount changes, but never the counters: what it booked before is on them."""
    return [target.counter for target in known.targets] == [target.counter for target in targets]


def _is_same_adjustment(known: Adjustment, targets: Sequence[Target], amount: Amounts) -> bool:
    """Of a transfer also the same accounts give."""
    n = known.n_sources
    given, got = (known.targets[:n], targets[:n]), (known.targets[n:], targets[n:])
    return known.amount == amount and all(_accounts(one) == _accounts(other) for one, other in (given, got))


def transfer(
    known: Adjustment | None,
    verb: Transfer,
    *,
    balances: Sequence[Balance],
    leases_due: bool,
    now_ms: int,
    bound: Sequence[Target] = (),
) -> Decision:
    """Move what may be spent from some counters to others, once an id.

    ``balances`` are those of the sources, and ``bound`` are the sources as of `reserve`.
    """
    if known is not None:
        same = known.n_sources == len(verb.sources) and _is_same_adjustment(known, verb.targets, verb.amount)
        return Decision(Status.DUPLICATE if same else Status.CONFLICT)
    if not verb.any_window and _is_outside(verb.targets, now_ms):
        return Decision(Status.STALE_WINDOW)
    rejection = find_rejection(bound or verb.sources, balances, asked=verb.amount)
    if rejection is not None:
        is_freed_soon = rejection.is_held and leases_due
        return Decision(Status.LEASES_DUE) if is_freed_soon else Decision(Status.REJECTED, rejection=rejection)
    changes = [(target, verb.amount[target.place]) for target in verb.sources]
    changes += [(target, -verb.amount[target.place]) for target in verb.destinations]
    return Decision(Status.TRANSFERRED, postings=_spent_postings(changes))


def _spent_postings(changes: Iterable[tuple[Target, int]]) -> tuple[Posting, ...]:
    return tuple(Posting(target, spent, 0) for target, spent in changes if spent)


def postings(before: Reservation | None, after: Reservation) -> tuple[Posting, ...]:
    """What the counters gain as ``before`` becomes ``after``; a counter that does not change has no posting."""
    booked: Sequence[int] = after.booked
    held: Sequence[int] = after.held
    if before is not None:
        booked, held = [*map(sub, booked, before.booked)], [*map(sub, held, before.held)]
    posted: list[Posting] = []
    for target in (before or after).targets:
        place = target.place
        spent, reserved = booked[place], held[place]
        if spent or reserved:
            posted.append(Posting(target, spent, reserved))
    return tuple(posted)
