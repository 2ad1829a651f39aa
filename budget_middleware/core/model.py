"""The values that travel between ledger and store: counters, targets, reservations. `verbs` and `answers` carry them.

A counter has one unit, and its figures are an ``int`` each of that unit: nano-dollars, tokens or requests. What a verb
asks for or books are ``Amounts``, a figure for each unit; a counter takes that of its own. Time is an ``int`` of
milliseconds since the Unix epoch on the *store's* clock (``_ms``). A ``trace`` is a W3C ``traceparent`` string, or
``""`` where there is none.

Nobody changes a value once it is made. Those that every verb makes are structs, which are filled in C, or tuples with
names where they are compared and looked up as a whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from msgspec import Struct

from budget_middleware.core.money import MAX_NANOS
from budget_middleware.core.statuses import State
from budget_middleware.core.units import NOTHING, PLACES, Amounts, Unit
from budget_middleware.core.windows import ROLLING_BUCKETS, Period, Window, is_rolling

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_PENDING, _FINALIZED, _EXPIRED = State.PENDING, State.FINALIZED, State.EXPIRED


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

    @property
    def is_rolling(self) -> bool:
        """Whether its counter is a bucket of a rolling period, whose limit is compared with a sum of buckets."""
        return self.series is not self.counter

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


_T = TypeVar("_T")

KNOWN_TARGETS_MAX: Final = 4_096


class OncePerTargets(Generic[_T]):
    """What follows from the targets of a request, made once: most requests bring the same tuple as one before.

    It is found by the identity of the tuple: to hash targets takes longer than most of what is made.
    """

    def __init__(self, make: Callable[[tuple[Target, ...]], _T]) -> None:
        self._make = make
        self._known: dict[int, tuple[tuple[Target, ...], _T]] = {}

    def __call__(self, targets: tuple[Target, ...]) -> _T:
        known = self._known.get(id(targets))
        if known is None:
            if len(self._known) >= KNOWN_TARGETS_MAX:
                self._known.clear()
            # With the tuple, so that no other one can have its id meanwhile.
            known = self._known[id(targets)] = targets, self._make(targets)
        return known[1]


class Balance(Struct, frozen=True, gc=False):
    """The two figures of a counter, never one sum."""

    spent: int = 0
    reserved: int = 0

    def __iter__(self) -> Iterator[int]:
        return iter((self.spent, self.reserved))


class Reservation(Struct, frozen=True, gc=False):
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
        state = self.state
        if state is _FINALIZED:
            return self.actual
        return self.expiry_charge if state is _EXPIRED else NOTHING

    @property
    def asked_or_held(self) -> Amounts:
        """What its reserve asked for; of a tombstone, which does not know it, what it holds."""
        return self.asked or self.held

    @property
    def grown_from(self) -> Amounts | None:
        """What its reserve asked for, where it holds more than that by now."""
        return self.asked if self.state is _PENDING and self.held != self.asked else None

    def is_due(self, now_ms: int) -> bool:
        return self.state is _PENDING and now_ms >= self.deadline_ms


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What is remembered of an adjust or a transfer.

    Of a transfer the first ``n_sources`` of the targets gave the amount to the others. With ``as_of`` the amount is
    what all adjustments of this id come to by then: see `verbs.Adjust`.
    """

    id: str
    targets: tuple[Target, ...]
    amount: Amounts
    n_sources: int = 0
    as_of: int = 0


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
