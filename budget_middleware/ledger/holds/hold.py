"""A reservation as its owner sees it."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from budget_middleware.core.answers import Answer
from budget_middleware.core.costs.charges import End
from budget_middleware.core.limits.modes import Passed, Watch
from budget_middleware.core.model import Target
from budget_middleware.core.payers.payers import Payers
from budget_middleware.core.units import NOTHING, Amounts, Unit, figure_number
from budget_middleware.ledger.holds.growth import Growth
from budget_middleware.telemetry import LazyAttributes, ParentContext, names


@dataclass(slots=True)
class LiveHolds:
    """Those of one event loop, by their ids, and the task that extends them."""

    holds: "dict[str, Hold]" = field(default_factory=dict)
    beat: "asyncio.Task[None] | None" = None
    # Made for a shutdown that waits.
    all_ended: asyncio.Event | None = None

    def forget_beat(self, beat: "asyncio.Task[None]") -> None:
        # A task holds its event loop, and a loop's own values must not.
        if self.beat is beat:
            self.beat = None


class ClientWait:
    """Since when the client of several holds is waited for, on the monotonic clock; None while it is not."""

    __slots__ = ("since_s",)

    def __init__(self) -> None:
        self.since_s: float | None = None


@dataclass(slots=True, eq=False)
class Hold:
    """What one request asks to reserve; its id is made here, before the store hears of it.

    ``asked`` has an amount of each unit. The store hears of those that some counter of the request is in: `counted`.
    ``other_models`` are those that may serve it too: their limits bind it as those of ``model``. ``targets`` are the
    counters as last sent to the store: enough to book the cost even if the store never saw, or has lost, the
    reservation. ``limits_version`` is that of their limits. ``watches`` are those that refuse nothing, and their
    alerts; ``passed`` are the limits that this
    request went over all the same. ``attributes`` are those of its spans, ``estimate_attributes`` those of its
    reserve's alone. Without ``enforces`` no limit refuses it: what it is for has begun.
    ``expected_nanos`` is what the request is expected to cost, of a hold that may be clipped to what is left: see
    ``reserving``. ``is_uncertain`` says that an attempt to reserve got no answer; ``is_local``, that this worker alone
    holds it, for the store is away; ``since_s`` is when it was made, on the monotonic clock.

    ``abort`` ends the hold by its owner's abort rule, for the ledger at a shutdown and for holds that live too long;
    None before the owner has one, and once the ending has begun. ``waits_since_s`` is since when the request waits for
    its client, on the monotonic clock; None while it does not. Calls of one session have a `ClientWait` in common.
    ``is_leased``: heartbeats extend the lease, until it ends or becomes the ticket of a job, whose lease is longer than
    any of theirs. ``growth`` is there for a hold that may grow with its answer, until that ends; ``grown_to`` is what
    it has grown to. ``live_among`` are the holds of the event loop in which it was made.
    """

    payers: Payers
    asked: Amounts
    model: str = ""
    other_models: tuple[str, ...] = ()
    expiry_charge: Amounts = NOTHING
    expected_nanos: int | None = None
    enforces: bool = True
    context: ParentContext = None
    attributes: LazyAttributes = dict
    estimate_attributes: LazyAttributes = dict
    id: str = field(default_factory=lambda: os.urandom(16).hex())
    targets: tuple[Target, ...] = ()
    watches: tuple[Watch, ...] = ()
    limits_version: int = 0
    passed: tuple[Passed, ...] = ()
    reserve_trace: str = ""
    is_uncertain: bool = False
    is_local: bool = False
    since_s: float = field(default_factory=time.monotonic)
    abort: Callable[[End], object] | None = None
    waits_since_s: float | None = None
    session_wait: ClientWait | None = None
    is_leased: bool = False
    growth: Growth | None = None
    grown_to: Amounts | None = None
    live_among: LiveHolds | None = None

    @property
    def client_waited_for_since_s(self) -> float | None:
        """Since when its client is waited for, alone or as that of a session."""
        if self.session_wait is None or self.session_wait.since_s is None:
            return self.waits_since_s
        return max(self.session_wait.since_s, self.since_s)

    @property
    def held(self) -> Amounts:
        """What it holds, where the store has heard of it."""
        return self.grown_to or self.counted(self.asked)

    @property
    def counts_more_than_money(self) -> bool:
        """Whether any of its counters is one of tokens or requests."""
        for target in self.targets:  # noqa: SIM110 - a generator takes three times as long, and every request asks
            if target.place:
                return True
        return False

    def counts(self, unit: Unit) -> bool:
        """Whether any of its counters is one of this unit."""
        return any(target.unit is unit for target in self.targets)

    def counted(self, amounts: Amounts) -> Amounts:
        """The money of amounts, and what they have of the other units that its counters are in."""
        if amounts is NOTHING:
            return amounts
        if not self.counts_more_than_money:
            return Amounts(amounts.usd)
        places = {target.place for target in self.targets}
        return Amounts(amounts.usd, *[amounts[at] if at in places else 0 for at in range(1, len(amounts))])

    def usable_rest(self, answer: Answer) -> int:
        """What is left of the limit that refused, if the request may be admitted with that much; else 0."""
        rejection = answer.rejection
        if self.expected_nanos is None or rejection is None or answer.admits or rejection.balance.reserved:
            return 0
        left_nanos = rejection.limit - rejection.balance.spent
        is_usable = rejection.target.unit is Unit.USD and self.expected_nanos <= left_nanos < self.asked.usd
        return left_nanos if is_usable else 0

    def reserve_attributes(self) -> names.Attributes:
        return {
            # Which other units are counted is known only once the limits are.
            names.ESTIMATE_USD: figure_number(self.asked.usd, Unit.USD),
            **self.attributes(),
            **self.estimate_attributes(),
        }
