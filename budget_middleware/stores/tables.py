"""The interface between the engine and a store's data: rows of a few tables, read and written within one transaction.

Each verb is one transaction, and within it nobody else writes. Tables know no rule: they keep what the engine puts and
find it again. A store over rows of a database implements this protocol and has every verb (see ``engine``).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from budget_middleware.core.answers import Entry
from budget_middleware.core.fast import maker_of
from budget_middleware.core.model import Adjustment, Balance, Counter, Reservation, Target
from budget_middleware.core.statuses import Op, Status, may_book
from budget_middleware.core.units import Unit

_entry_of = maker_of(Entry)


class Meta(Struct, frozen=True, gc=False):
    """The one row about the store itself.

    ``seq`` is that of the last journal entry, ``bookings`` how many entries there were that may have changed *spent*,
    ``entries`` how many there were without those that were voided. Voided entries are kept until ``forget_voided_ms``.
    """

    generation: str
    limits_version: int = 0
    seq: int = 0
    bookings: int = 0
    entries: int = 0
    forget_voided_ms: int = 0


class ByHand(NamedTuple):
    """What operators did to a counter: the part of *spent* that they adjusted; the seq of its last repair, or 0."""

    adjusted: int = 0
    repaired_at_seq: int = 0


class CounterRow(NamedTuple):
    """What is known of a counter."""

    balance: Balance
    by_hand: ByHand


class Step(Struct, frozen=True, gc=False):
    """A row of the journal: what one verb changed, with an entry for each counter.

    ``figures`` has four numbers for each of the targets: what it gained of *spent* and of *reserved*, and both after
    it. ``last_seq``, ``bookings`` and ``entries`` are those of ``Meta`` after this step.
    """

    last_seq: int
    bookings: int
    entries: int
    time_ms: int
    op: Op
    reservation_id: str
    status: Status
    targets: tuple[Target, ...]
    figures: tuple[int, ...]
    trace: str = ""
    reserve_trace: str = ""
    reason: str = ""
    bill: str = ""

    def journal_entries(self) -> list[Entry]:
        """Its entries, oldest first."""
        targets, time_ms, op, id_, status = self.targets, self.time_ms, self.op, self.reservation_id, self.status
        bookings = booking_numbers(op, status, len(targets), last=self.bookings)
        seqs = range(self.last_seq - len(targets) + 1, self.last_seq + 1)
        texts = self.trace, self.reserve_trace, self.reason
        figures = zip(*[iter(self.figures)] * 4, strict=True)
        return [
            _entry_of(
                (seq, time_ms, op, id_, target.counter, *changed, target.limit, status, *texts, booking, self.bill, "")
            )
            for seq, target, changed, booking in zip(seqs, targets, figures, bookings, strict=True)
        ]


def booking_numbers(op: Op, status: Status, count: int, *, last: int) -> Sequence[int]:
    """``Entry.bookings`` of a step's entries: in a row for those that may change *spent*, else that before them."""
    return range(last - count + 1, last + 1) if may_book(op, status) else [last] * count


Kind = tuple[Unit, str]
"""What a sum of what is reserved is of: a unit, and a kind of accounts."""


class Tables(Protocol):
    """The primitives that verbs need, each one statement or a few for a database. Collections are read at once."""

    def open(self, now_ms: int) -> tuple[Meta, bool]:
        """A verb begins: `forget` what is over; the meta row, and whether any lease may be."""
        ...

    def put_meta(self, meta: Meta) -> None: ...

    # Reservations. One is pending, and found by `due` and `pending`, as long as its state says so.

    def reservation(self, id_: str) -> Reservation | None: ...
    def put(self, reservation: Reservation, *, forget_ms: int | None) -> None:
        """Insert or replace it; from ``forget_ms`` on it is unknown (None: as long as it is pending)."""
        ...

    def due(self, now_ms: int, *, at_most: int, on: Counter | None = None) -> Sequence[Reservation]:
        """Pending ones (on a counter, or on any of a series) whose deadline has come, by deadline and then by id."""
        ...

    def pending(self, on: Counter) -> Collection[Reservation]:
        """All that are pending on a counter, due ones too."""
        ...

    # Adjustments.

    def adjustment(self, id_: str) -> Adjustment | None: ...
    def put_adjustment(self, adjustment: Adjustment, *, forget_ms: int) -> None: ...

    # Counters.

    def balances(self, of: Sequence[Counter]) -> Sequence[Balance]:
        """In their order; a counter that is not there is at nothing."""
        ...

    def book(self, on: Sequence[Counter], balances: Sequence[Balance]) -> None:
        """Insert counters or replace their balances."""
        ...

    def by_hand(self, counter: Counter) -> ByHand: ...
    def put_by_hand(self, counter: Counter, by_hand: ByHand) -> None:
        """Insert the counter or replace this part of it."""
        ...

    def retain(self, until_ms: Mapping[Counter, int]) -> None:
        """From when on counters may be forgotten, where they are there."""
        ...

    def drop_counter(self, counter: Counter) -> None: ...

    # The journal. Steps that were voided lie apart, but are read with the others.

    def append(self, step: Step, meta: Meta, *, is_voided: bool) -> None:
        """Append a step, with what the meta row is after it."""
        ...

    def void(self, reservation_id: str) -> int:
        """Put the step of its reserve, if there is one, with those that are voided; how many entries that has."""
        ...

    def trim(self, *, entries: int) -> None:
        """Drop steps whose ``entries`` are not above this figure."""
        ...

    def trim_voided(self, *, at_most: int) -> None:
        """Drop the oldest of those that are voided."""
        ...

    def forget(self, now_ms: int) -> None:
        """Drop reservations and adjustments whose time has come, and counters that nothing is pending on."""
        ...


class BrowsableTables(Tables, Protocol):
    """And those that operators need."""

    meta: Meta

    def pending(self, on: Counter | None = None) -> Collection[Reservation]:
        """All that are pending (on a counter), due ones too."""
        ...

    def all_counters(self) -> Mapping[Counter, CounterRow]: ...
    def reserved_by_kind(self) -> Mapping[Kind, int]: ...
    def steps(self, *, after_seq: int = 0, newest_first: bool = False) -> Iterator[Step]:
        """Those whose ``last_seq`` is above a seq."""
        ...
