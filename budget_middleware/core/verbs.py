"""The verbs that the ledger asks of a store.

Amounts, times and traces are as in `model`.
"""

from dataclasses import dataclass
from typing import ClassVar

from msgspec import Struct

from budget_middleware.core.fast import like_dataclass
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Op
from budget_middleware.core.units import NOTHING, Amounts


@like_dataclass
class Reserve(Struct, frozen=True, gc=False):
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


@like_dataclass
class Finalize(Struct, frozen=True, gc=False):
    """Book the actual cost. ``targets`` and ``age_ms`` (since the first attempt) serve an id that the store lost.

    ``wants_entries`` as in Reserve. ``bill`` is the packed bill of that cost (core/costs/bill.py): it goes into the
    journal as it is, and changes nothing else.
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


@like_dataclass
class Release(Struct, frozen=True, gc=False):
    """Give the hold back and book nothing. ``age_ms`` and ``wants_entries`` as in Finalize.

    With ``forgets`` it is as if the reserve had never been: no id is remembered, and asked again, it is decided afresh.
    So a part of a sharded reservation goes whose next part was refused.
    """

    op: ClassVar = Op.RELEASE

    id: str
    age_ms: int = 0
    trace: str = ""
    reason: str = ""
    wants_entries: bool = True
    forgets: bool = False


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

    With ``as_of``, a number that rises such as the seq of another ledger, the amount is what all adjustments of this
    id come to by then: the difference to what is known is booked, and nothing if that is as of the same or a later one.
    Such an id is remembered as long as the counters of its targets.
    """

    id: str
    targets: tuple[Target, ...]
    amount: Amounts
    any_window: bool = False
    trace: str = ""
    reason: str = ""
    bill: str = ""
    as_of: int = 0


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
