"""What a batch of verbs reads and writes, as plain data: a driver makes statements of it, and knows no rule.

Rows are tuples in the order of the columns of ``schema``, without the number of the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from budget_middleware.core.model import Counter

Row = tuple[Any, ...]

DUE_AT_ONCE = 64
"""So many leases that are over a batch reads at first. Where there are fewer it knows all, and asks for none again."""


@dataclass(slots=True)
class Wanted:
    """What is to be read. ``due`` and ``due_on`` say how many of the oldest leases that are over, at most.

    ``due_on`` are counters, and series of rolling periods (their window is SERIES); ``pending_on`` are counters.
    """

    reservations: set[str] = field(default_factory=set)
    adjustments: set[str] = field(default_factory=set)
    counters: set[Counter] = field(default_factory=set)
    due: int = 0
    due_on: dict[Counter, int] = field(default_factory=dict)
    pending_on: set[Counter] = field(default_factory=set)


class Head(NamedTuple):
    """The row of the ledger, read under the lock of the transaction, and the store's time then."""

    now_ms: int
    generation: str
    limits_version: int
    seq: int
    bookings: int
    entries: int
    forget_voided_ms: int
    voided_steps: int


@dataclass(slots=True)
class Loaded:
    """What was found. ``head`` comes with the first answer.

    Rows of ``pending``, also of what is due and of ``pending_on``, have two columns more, those of the step of their
    reserve in the journal, and None where it is not there: ``entries`` and how many entries it has. Rows of ``ended``
    and ``adjustments`` whose ``forget_ms`` has come are left out.
    """

    head: Head | None = None
    pending: Sequence[Row] = ()
    ended: Sequence[Row] = ()
    adjustments: Sequence[Row] = ()
    counters: Sequence[Row] = ()
    due: Sequence[Row] = ()
    due_on: dict[Counter, Sequence[Row]] = field(default_factory=dict)


@dataclass(slots=True)
class Writes:
    """What a batch changes, to be written in the order in which it stands here, with the commit.

    Rows are inserted or replaced whole, by their key. ``totals`` are added to. ``void`` are steps of ``journal`` to be
    moved to ``voided``; of that the ``drop_voided`` oldest are dropped then. ``trim`` drops the oldest steps of the
    journal, up to the first whose ``entries`` is larger. ``ledger`` are the columns of ``Head`` behind the time.
    """

    ledger: Row | None = None
    clear_voided: bool = False
    put_pending: list[Row] = field(default_factory=list)
    drop_pending: list[str] = field(default_factory=list)
    put_ended: list[Row] = field(default_factory=list)
    put_adjustments: list[Row] = field(default_factory=list)
    put_counters: list[Row] = field(default_factory=list)
    drop_counters: list[str] = field(default_factory=list)
    totals: list[tuple[str, str, int]] = field(default_factory=list)
    put_steps: list[Row] = field(default_factory=list)
    put_voided: list[Row] = field(default_factory=list)
    void: list[int] = field(default_factory=list)
    drop_voided: int = 0
    trim: int | None = None
    freed: Sequence[str] = ()
    """Accounts of which less is held now, for those who listen."""
