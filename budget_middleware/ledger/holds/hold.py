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

    Times (``_s``) are on the monotonic clock.
    """

    # What is asked for, and by whom.
    payers: Payers
    asked: Amounts  # Of each unit; the store hears of those that some counter of the request is in: `counted`.
    model: str = ""
    other_models: tuple[str, ...] = ()  # May serve it too: their limits bind it as those of the model.
    expiry_charge: Amounts = NOTHING
    expected_nanos: int | None = None  # Its expected cost, if it may be clipped to what is left: see `reserving`.
    enforces: bool = True  # Else no limit refuses it: what it is for has begun.
    context: ParentContext = None
    attributes: LazyAttributes = dict  # Of each of its spans.
    estimate_attributes: LazyAttributes = dict  # Of the span of its reserve alone.
    id: str = field(default_factory=lambda: os.urandom(16).hex())

    # What the last attempt to reserve has sent: with its targets a cost is booked even if the store lost the rest.
    targets: tuple[Target, ...] = ()
    watches: tuple[Watch, ...] = ()  # Limits of these that refuse nothing, and alerts.
    limits_version: int = 0
    passed: tuple[Passed, ...] = ()  # The limits among the watches that the request went over.
    reserve_trace: str = ""
    is_uncertain: bool = False  # An attempt got no answer.
    is_local: bool = False  # This worker alone holds it, since the store is away.

    # How it lives.
    since_s: float = field(default_factory=time.monotonic)
    # Ends it by its owner's abort rule, at a shutdown or when it lives too long. None before it has an owner's rule,
    # and once the ending has begun.
    abort: Callable[[End], object] | None = None
    waits_since_s: float | None = None  # For its own client.
    session_wait: ClientWait | None = None  # For the client that several calls of a session have in common.
    is_leased: bool = False  # Heartbeats extend its lease, until it ends or is the ticket of a job.
    growth: Growth | None = None  # It may grow with its answer, until that ends.
    grown_to: Amounts | None = None
    live_among: LiveHolds | None = None  # Those of the event loop in which it was made.

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
