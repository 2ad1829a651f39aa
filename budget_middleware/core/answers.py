"""What a store answers: to a verb, from its journal, and of its counters."""

from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Struct

from budget_middleware.core.model import Balance, Counter, Rejection, Reservation
from budget_middleware.core.statuses import Op, State, Status, may_book

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_RESERVED, _DUPLICATE = Status.RESERVED, Status.DUPLICATE


class Entry(NamedTuple):
    """One counter change in the journal. ``spent`` and ``reserved`` are the figures after it.

    ``trace`` is the span around the store call that wrote the entry; ``reserve_trace`` the span that had made
    the reservation, kept where another process may have to link to it. ``bookings`` counts the entries of the journal,
    up to and with this one, that may have changed *spent*: they are numbered in a row, so that a reader sees whether
    one is missing, also where reservations that came to nothing have left the journal. ``bill`` is the packed bill of
    what a finalize booked; the journal keeps it once for all counters, and each of their entries repeats it. ``shard``
    names the shard whose journal has it; empty in a ledger without shards.
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
    shard: str = ""

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


class Answer(Struct, frozen=True, gc=False):
    """A store's reply to one verb.

    ``recorded`` is what was known of the id, with the statuses of RETURNS_RECORDED. The call wrote ``written`` entries
    to the journal, the last of them at ``seq``; ``entries`` are those that the verb asked for. ``balances`` are the
    figures after the call of the counters that a reserve or grow held on, and that an ending, adjust or transfer booked
    on, in order: those that limits are compared with, of a rolling period the sums.

    ``parts`` are the answers of the shards that a verb was sent to, each with the name of its ``shard``, and with the
    clock, generation and seq of that shard. Both are empty in a ledger without shards.
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
    shard: str = ""
    parts: "tuple[Answer, ...]" = ()

    @property
    def admits(self) -> bool:
        """Whether the request may go on: it holds what it asked for."""
        status = self.status
        if status is _RESERVED:
            return True
        return status is _DUPLICATE and self.recorded is not None and self.recorded.state is State.PENDING


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
