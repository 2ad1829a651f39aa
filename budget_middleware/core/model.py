"""The values that travel between ledger and store: counters, reservations, verbs and their answers.

A counter has one unit, and its figures are an ``int`` each of that unit: nano-dollars, tokens or requests. What a verb
asks for or books are ``Amounts``, a figure for each unit; a counter takes that of its own. Time is an ``int`` of
milliseconds since the Unix epoch on the *store's* clock (``_ms``). A ``trace`` is a W3C ``traceparent`` string, or
``""`` where there is none.

Nobody changes a value once it is made. Those that every request makes are not frozen all the same, or tuples with
names, since a frozen class takes several times as long to fill.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from budget_middleware.core.fast_enum import FastStrEnum
from budget_middleware.core.money import MAX_NANOS
from budget_middleware.core.units import NOTHING, PLACES, Amounts, Unit
from budget_middleware.core.windows import ROLLING_BUCKETS, Period, Window, is_rolling


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
        return self in _TRANSIENT


_TRANSIENT = frozenset({Status.STALE_WINDOW, Status.STALE_LIMITS, Status.LEASES_DUE})

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


class Counter(NamedTuple):
    """The identity of a counter."""

    account: str
    period: Period
    window: str
    unit: Unit = Unit.USD

    @property
    def name(self) -> str:
        """Its account, period and window; the unit stands in it unless it is money."""
        account, period, window, unit = self
        return f"{account}|{period}|{window}" if unit is Unit.USD else f"{account}|{period}|{window}|{unit}"


LONGER_AT_MOST = 2
"""No window lasts more than so many times as long as the one before: 31 days after 28, an hour after half of one."""

SERIES = "rolling"
"""Stands for the window of a series: all buckets of a rolling period."""


def series_of(counter: Counter) -> Counter:
    """What a limit looks at as one: a counter by itself, or all buckets of a rolling period."""
    return counter._replace(window=SERIES) if is_rolling(counter.period) else counter


class Carry(NamedTuple):
    """A limit grows by so many percent of what the ``previous`` window (an id) has left of an ``amount``."""

    percent: int
    amount: int
    previous: str

    def carried(self, spent: int) -> int:
        """What is carried over of a window in which so much was spent; rounded down."""
        return self.percent * max(0, self.amount - spent) // 100


@dataclass(frozen=True, slots=True)
class Target:
    """A counter that a verb books on, with the limit (in its unit, None: no limit) that binds it.

    ``place`` is where its figure stands in ``Amounts``. ``series`` is the counter itself; of a bucket of a rolling
    period it stands for all of them: the limit is compared with their sum, and a lease that is over on any may be in
    the way on each. With ``carry`` only the store knows the limit that binds, see `bound`. At
    ``counts_until_ms`` no limit looks at it any more: its window is over, and each that may still count it.
    """

    account: str
    window: Window
    limit: int | None = None
    unit: Unit = Unit.USD
    carry: Carry | None = None
    counter: Counter = field(init=False, repr=False, compare=False)
    series: Counter = field(init=False, repr=False, compare=False)
    counts_until_ms: int = field(init=False, repr=False, compare=False)
    place: int = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counter", Counter(self.account, self.window.period, self.window.id, self.unit))
        object.__setattr__(self, "series", series_of(self.counter))
        more = ROLLING_BUCKETS if self.series is not self.counter else LONGER_AT_MOST if self.carry else 0
        _, _, starts_ms, ends_ms = self.window
        object.__setattr__(self, "counts_until_ms", ends_ms + more * (ends_ms - starts_ms))
        object.__setattr__(self, "place", PLACES[self.unit])
        object.__setattr__(self, "_hash", hash((self.account, self.window, self.limit, self.unit, self.carry)))

    def bound_by(self, limit: int) -> "Target":
        """The same counter under the limit that binds it, whatever was carried over."""
        return Target(self.account, self.window, limit, self.unit)

    def bound(self, spent_of: Callable[[Counter], int]) -> "Target":
        """Under its limit and what is carried over of the window before, by what that has spent."""
        if self.carry is None or self.limit is None:
            return self
        spent = spent_of(self.counter._replace(window=self.carry.previous))
        return self.bound_by(min(self.limit + self.carry.carried(spent), MAX_NANOS))

    @property
    def limit_at_most(self) -> int | None:
        """The highest limit that can bind it, for a worker, who does not know how much was carried over."""
        return self.limit if self.carry is None else self.bound(lambda _: 0).limit

    # Made once: what follows from a request's targets is looked up by them, several times a request.
    def __hash__(self) -> int:
        return self._hash


class Balance(NamedTuple):
    """The two figures of a counter, never one sum."""

    spent: int = 0
    reserved: int = 0


class Reservation(NamedTuple):
    """One request's hold, or what is remembered of it.

    ``asked`` is what its reserve asked for, the identity of that verb; None in a tombstone: an ending came for an id
    whose reserve the store never saw. ``held`` is what it adds to *reserved* of each of its counters: what was asked,
    or what it has grown to, and nothing unless it is pending. Once it is not, nobody needs its deadline and its trace
    any more, and once it has ended its expiry charge and the limits of its targets: they are forgotten.
    """

    id: str
    state: State
    targets: tuple[Target, ...]
    asked: Amounts | None
    held: Amounts = NOTHING
    expiry_charge: Amounts = NOTHING
    actual: Amounts = NOTHING
    created_ms: int = 0
    deadline_ms: int = 0
    trace: str = ""

    @property
    def booked(self) -> Amounts:
        """What this reservation adds to *spent* of each of its counters."""
        match self.state:
            case State.FINALIZED:
                return self.actual
            case State.EXPIRED:
                return self.expiry_charge
            case _:
                return NOTHING

    @property
    def grown_from(self) -> Amounts | None:
        """What its reserve asked for, where it holds more than that by now."""
        return self.asked if self.state is State.PENDING and self.held != self.asked else None

    def is_due(self, now_ms: int) -> bool:
        return self.state is State.PENDING and now_ms >= self.deadline_ms


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What is remembered of an adjust or a transfer.

    Of a transfer the first ``n_sources`` of the targets gave the amount to the others.
    """

    id: str
    targets: tuple[Target, ...]
    amount: Amounts
    n_sources: int = 0


class Rejection(NamedTuple):
    """The one counter that refused a reserve, as it stood at that instant; ``estimate`` is in its unit."""

    target: Target
    balance: Balance
    estimate: int

    @property
    def limit(self) -> int:
        assert self.target.limit is not None, "only a limited counter refuses"
        return self.target.limit

    @property
    def is_held(self) -> bool:
        """Only other requests' reservations stand in the way: the same request may succeed later."""
        return self.balance.spent + self.estimate <= self.limit

    @property
    def shortfall(self) -> int:
        """By how much the estimate goes beyond the limit."""
        return self.balance.spent + self.balance.reserved + self.estimate - self.limit


@dataclass(slots=True)
class Reserve:
    """Hold on every target what is ``asked`` of its unit, or hold nothing.

    With ``wants_entries`` the answer says what this verb wrote to the journal; what it wrote of leases that it
    expired in passing is always returned.
    """

    id: str
    targets: tuple[Target, ...]
    asked: Amounts
    lease_ms: int
    expiry_charge: Amounts = NOTHING
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
    actual: Amounts
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


@dataclass(slots=True)
class Grow:
    """Hold at least ``to`` from now on, the whole amount of each unit, and renew the lease as Extend does.

    For an answer that outgrows what its reserve asked for. It has come to so much already, so no limit refuses this,
    and *reserved* may pass the limit as *spent* may. It never lowers what is held: repeats, late copies and any order
    come to the same. ``wants_entries`` as in Reserve.
    """

    id: str
    to: Amounts
    lease_ms: int
    trace: str = ""
    reason: str = ""
    wants_entries: bool = True


@dataclass(frozen=True, slots=True)
class Expire:
    """An operator's release: expire a pending reservation now, charging nothing."""

    id: str
    trace: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Adjust:
    """Add to *spent* of every target the ``amount`` of its unit (a negative one is a credit).

    ``any_window`` lets an operator name a window that is not the current one. ``bill`` as in Finalize, where the
    adjustment is the correction of an earlier bill.
    """

    id: str
    targets: tuple[Target, ...]
    amount: Amounts
    any_window: bool = False
    trace: str = ""
    reason: str = ""
    bill: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Move ``amount`` of what may be spent: *spent* of every source grows by it, that of every destination shrinks.

    Both in one step, and only if every source has so much available within its limit. ``any_window`` as in Adjust.
    ValueError for an amount below 0, for nobody on a side, and for a counter on both.
    """

    id: str
    sources: tuple[Target, ...]
    destinations: tuple[Target, ...]
    amount: Amounts
    any_window: bool = False
    trace: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if min(self.amount) < 0:
            raise ValueError(f"{self.amount} is no amount to transfer: none of it may be negative")
        if not (self.sources and self.destinations):
            raise ValueError("a transfer needs somebody who gives and somebody who gets")
        if {target.counter for target in self.sources} & {target.counter for target in self.destinations}:
            raise ValueError("a counter cannot transfer to itself")

    @property
    def targets(self) -> tuple[Target, ...]:
        """All that it books on, the sources first."""
        return self.sources + self.destinations


@dataclass(frozen=True, slots=True)
class Repair:
    """Book what an audit found missing on one counter: ``spent`` (negative: it shows too much) on *spent*.

    What *reserved* lacks the store finds itself, at that instant. ``found_at_seq`` is how far the audit had read:
    a counter that was repaired since is left alone.
    """

    id: str
    target: Target
    spent: int
    found_at_seq: int
    trace: str = ""
    reason: str = ""


class Entry(NamedTuple):
    """One counter change in the journal. ``spent`` and ``reserved`` are the figures after it.

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
    spent_delta: int
    reserved_delta: int
    spent: int
    reserved: int
    limit: int | None
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
    def spent_before(self) -> int:
        return self.spent - self.spent_delta

    @property
    def reserved_before(self) -> int:
        return self.reserved - self.reserved_delta


def may_book(op: Op, status: Status) -> bool:
    """Whether such an entry may change *spent*. Those of a reserve and its release may leave the journal early."""
    return op is not Op.RESERVE and op is not Op.GROW and status is not Status.RELEASED


class Answer(NamedTuple):
    """A store's reply to one verb.

    ``recorded`` is what was known of the id, with the statuses of RETURNS_RECORDED. The call wrote ``written`` entries
    to the journal, the last of them at ``seq``; ``entries`` are those that the verb asked for. ``balances`` are the
    figures after the call of the counters that a reserve or grow held on, and that an ending, adjust or transfer booked
    on, in order: those that limits are compared with, of a rolling period the sums.
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

    ``adjusted`` is the part of *spent* that operators added (or, negative, credited) by hand.
    """

    counter: Counter
    balance: Balance
    adjusted: int = 0


@dataclass(frozen=True, slots=True)
class CounterProof:
    """One counter and, read in the same instant, what should explain it.

    ``held`` is the sum of its ``pending`` reservations; its journal entries up to ``seen_at_seq`` must
    lead to ``balance``.
    """

    counter: Counter
    balance: Balance
    adjusted: int
    pending: int
    held: int
    seen_at_seq: int
