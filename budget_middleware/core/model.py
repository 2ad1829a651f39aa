"""The values that travel between ledger and store: counters, reservations, verbs and their answers.

Money is an ``int`` of nano-dollars (``_nanos``), time an ``int`` of milliseconds since the Unix epoch on the
*store's* clock (``_ms``). A ``trace`` is a W3C ``traceparent`` string, or ``""`` where there is none.

Nobody changes a value once it is made. Those that every request makes are not frozen all the same, or tuples with
names, since a frozen class takes several times as long to fill.
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from budget_middleware.core.windows import Period, Window
from budget_middleware.core.words import Word


class State(Word):
    """What a reservation is at one instant."""

    PENDING = "pending"
    FINALIZED = "finalized"
    RELEASED = "released"
    EXPIRED = "expired"


class Op(Word):
    """The verbs that change counters, as the journal and the spans name them."""

    RESERVE = "reserve"
    FINALIZE = "finalize"
    RELEASE = "release"
    EXPIRE = "expire"
    ADJUST = "adjust"


class Status(Word):
    """Every answer that a verb can get. An outage is an exception, never a status."""

    # Asks the ledger to refresh what it sent and to repeat: nothing was decided.
    STALE_WINDOW = "stale_window"
    STALE_LIMITS = "stale_limits"
    LEASES_DUE = "leases_due"

    RESERVED = "reserved"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"

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
    REPAIRED = "repaired"
    UNKNOWN = "unknown"

    @property
    def is_transient(self) -> bool:
        """Whether the same verb, refreshed, may be decided at the next try."""
        return self in _TRANSIENT


_TRANSIENT = frozenset({Status.STALE_WINDOW, Status.STALE_LIMITS, Status.LEASES_DUE})

TELLS_RECORDED = frozenset(
    {
        Status.DUPLICATE,
        Status.CONFLICT,
        Status.ALREADY_FINALIZED,
        Status.ALREADY_RELEASED,
        Status.ALREADY_EXPIRED,
    }
)
"""The answers that change nothing and return what was recorded instead."""


class Counter(NamedTuple):
    """The identity of a counter."""

    account: str
    period: Period
    window: str


@dataclass(frozen=True, slots=True)
class Target:
    """A counter that a verb books on, with the limit (nano-dollars, None: no limit) that binds it."""

    account: str
    window: Window
    limit_nanos: int | None = None
    counter: Counter = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counter", Counter(self.account, self.window.period, self.window.id))
        object.__setattr__(self, "_hash", hash((self.account, self.window, self.limit_nanos)))

    # Made once: what follows from a request's targets is looked up by them, several times a request.
    def __hash__(self) -> int:
        return self._hash


class Balance(NamedTuple):
    """The two figures of a counter, never one sum."""

    spent_nanos: int = 0
    reserved_nanos: int = 0


class Reservation(NamedTuple):
    """One request's hold, or what is remembered of it.

    ``amount_nanos`` is None in a tombstone: an ending came for an id whose reserve the store never saw.
    """

    id: str
    state: State
    targets: tuple[Target, ...]
    amount_nanos: int | None
    expiry_charge_nanos: int = 0
    actual_nanos: int = 0
    created_ms: int = 0
    deadline_ms: int = 0
    trace: str = ""

    @property
    def held_nanos(self) -> int:
        """What this reservation adds to *reserved* of each of its counters."""
        return self.amount_nanos or 0 if self.state is State.PENDING else 0

    @property
    def booked_nanos(self) -> int:
        """What this reservation adds to *spent* of each of its counters."""
        match self.state:
            case State.FINALIZED:
                return self.actual_nanos
            case State.EXPIRED:
                return self.expiry_charge_nanos
            case _:
                return 0

    def is_due(self, now_ms: int) -> bool:
        return self.state is State.PENDING and now_ms >= self.deadline_ms


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What is remembered of an adjust."""

    id: str
    targets: tuple[Target, ...]
    amount_nanos: int


def shortfall_nanos(balance: Balance, *, estimate_nanos: int, limit_nanos: int) -> int:
    """By how much an estimate goes beyond a limit; 0 or less: it does not."""
    return balance.spent_nanos + balance.reserved_nanos + estimate_nanos - limit_nanos


class Rejection(NamedTuple):
    """The one counter that refused a reserve, as it stood at that instant."""

    target: Target
    balance: Balance
    estimate_nanos: int

    @property
    def limit_nanos(self) -> int:
        assert self.target.limit_nanos is not None, "only a limited counter refuses"
        return self.target.limit_nanos

    @property
    def is_held(self) -> bool:
        """Only other requests' reservations stand in the way: the same request may succeed later."""
        return self.balance.spent_nanos + self.estimate_nanos <= self.limit_nanos

    @property
    def shortfall_nanos(self) -> int:
        return shortfall_nanos(self.balance, estimate_nanos=self.estimate_nanos, limit_nanos=self.limit_nanos)


@dataclass(slots=True)
class Reserve:
    """Hold ``amount_nanos`` on every target, or on none.

    With ``wants_entries`` the answer tells what this verb wrote to the journal; what it wrote of leases that it
    expired in passing is told always.
    """

    id: str
    targets: tuple[Target, ...]
    amount_nanos: int
    lease_ms: int
    expiry_charge_nanos: int = 0
    enforce: bool = True
    limits_version: int = 0
    trace: str = ""
    wants_entries: bool = True


@dataclass(slots=True)
class Finalize:
    """Book the actual cost. ``targets`` and ``age_ms`` (since the first attempt) serve an id that the store lost.

    ``wants_entries`` as in Reserve. ``bill`` is the packed bill of that cost (core/bill.py): it goes into the journal
    as it is, and changes nothing else.
    """

    op: ClassVar = Op.FINALIZE

    id: str
    targets: tuple[Target, ...]
    actual_nanos: int
    age_ms: int = 0
    trace: str = ""
    reason: str = ""
    wants_entries: bool = True
    bill: str = ""


@dataclass(slots=True)
class Release:
    """Give the hold back and book nothing. ``age_ms`` and ``wants_entries`` as in Finalize."""

    op: ClassVar = Op.RELEASE

    id: str
    age_ms: int = 0
    trace: str = ""
    reason: str = ""
    wants_entries: bool = True


@dataclass(frozen=True, slots=True)
class Extend:
    """Renew the lease of one's own reservation."""

    id: str
    lease_ms: int
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Expire:
    """An operator's release: expire a pending reservation now, charging nothing."""

    id: str
    trace: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Adjust:
    """Add ``amount_nanos`` (a negative one is a credit) to *spent* of every target.

    ``any_window`` lets an operator name a window that is not the current one. ``bill`` as in Finalize, where the
    adjustment is the correction of an earlier bill.
    """

    id: str
    targets: tuple[Target, ...]
    amount_nanos: int
    any_window: bool = False
    trace: str = ""
    reason: str = ""
    bill: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """Book what an audit found missing on one counter: ``spent_nanos`` (negative: it shows too much) on *spent*.

    What *reserved* lacks the store finds itself, at that instant. ``found_at_seq`` is how far the audit had read:
    a counter that was repaired since is left alone.
    """

    id: str
    target: Target
    spent_nanos: int
    found_at_seq: int
    trace: str = ""
    reason: str = ""


class Entry(NamedTuple):
    """One counter change in the journal. ``spent_nanos`` and ``reserved_nanos`` are the figures after it.

    ``trace`` is the span around the store call that wrote the entry; ``reserve_trace`` the span that had made
    the reservation, kept where another process may have to link to it. ``bookings`` counts the entries of the journal,
    up to and with this one, that may have changed *spent*: they are numbered in a row, so that a reader sees whether
    one is missing, also where reservations that came to nothing have left the journal. ``bill`` is the packed bill of
    what a finalize booked; the journal keeps it once for all counters, and each of their entries repeats it.
    """

    seq: int
    time_ms: int
    op: Op
    reservation_id: str
    counter: Counter
    spent_delta_nanos: int
    reserved_delta_nanos: int
    spent_nanos: int
    reserved_nanos: int
    limit_nanos: int | None
    status: Status
    trace: str = ""
    reserve_trace: str = ""
    reason: str = ""
    bookings: int = 0
    bill: str = ""

    @property
    def may_book(self) -> bool:
        return may_book(self.op, self.status)

    @property
    def bookings_before(self) -> int:
        """How many bookings the journal had had before this entry."""
        return self.bookings - self.may_book

    @property
    def spent_before_nanos(self) -> int:
        return self.spent_nanos - self.spent_delta_nanos

    @property
    def reserved_before_nanos(self) -> int:
        return self.reserved_nanos - self.reserved_delta_nanos


def may_book(op: Op, status: Status) -> bool:
    """Whether such an entry may change *spent*. Those that only hold, or give back, may leave the journal early."""
    return op is not Op.RESERVE and status is not Status.RELEASED


class Answer(NamedTuple):
    """A store's reply to one verb.

    ``recorded`` is what was known of the id, with the statuses of TELLS_RECORDED. The call wrote ``written`` entries to
    the journal, the last of them at ``seq``; ``entries`` are those that the verb wants to be told. ``balances`` are the
    figures after the call of the counters that reserve held on, and that an ending or adjust booked on, in order.
    """

    status: Status
    now_ms: int
    generation: str
    seq: int
    limits_version: int = 0
    recorded: Reservation | None = None
    rejection: Rejection | None = None
    entries: tuple[Entry, ...] = ()
    written: int = 0
    balances: tuple[Balance, ...] = ()

    @property
    def admits(self) -> bool:
        """Whether the request may go on: it holds what it asked for."""
        if self.status is Status.DUPLICATE:
            return self.recorded is not None and self.recorded.state is State.PENDING
        return self.status is Status.RESERVED


@dataclass(frozen=True, slots=True)
class CounterView:
    """A counter as an operator sees it: leases that are due do not count as reserved.

    ``adjusted_nanos`` is the part of *spent* that operators added (or, negative, credited) by hand.
    """

    counter: Counter
    balance: Balance
    adjusted_nanos: int = 0


@dataclass(frozen=True, slots=True)
class CounterProof:
    """One counter and, read in the same instant, what should explain it.

    ``pending_nanos`` is the sum of its ``pending`` reservations; its journal entries up to ``seen_at_seq`` must
    lead to ``balance``.
    """

    counter: Counter
    balance: Balance
    adjusted_nanos: int
    pending: int
    pending_nanos: int
    seen_at_seq: int
