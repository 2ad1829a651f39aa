"""An ending that the store has not answered, and the recently answered ones, which are sent again after a loss."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct, structs

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Target
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.core.verbs import Finalize, Release
from budget_middleware.ledger.calls.attempts import FIRST_PAUSE_S
from budget_middleware.ledger.calls.verb_call import VerbCall
from budget_middleware.ledger.endings.spool_lines import SpooledEnding, now_ms
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.telemetry import LazyAttributes, names
from budget_middleware.telemetry.names import Attributes
from budget_middleware.telemetry.traceparent import log_ids

REPLAYED_MAX = 20_000

LONGEST_PAUSE_S = 5.0

Ending = Finalize | Release
AnswerFuture = asyncio.Future[Answer | None]
"""The store's answer to an ending; None if it takes longer than the store's time-out, during an outage, and when
nothing more can be tried. Cancelling the wait for it does not cancel the ending."""


class OwedEnding(Struct, eq=False):
    """An ending on its way to the store."""

    hold: Hold
    ending: Ending
    since_s: float  # On the monotonic clock: a replay is as old as its first attempt.
    call: VerbCall
    waiter: AnswerFuture | None = None
    was_tried: bool = False
    is_replay: bool = False
    is_last: bool = False  # The event loop closes: there will be no other attempt.
    pause_s: float = FIRST_PAUSE_S

    @property
    def spooled(self) -> SpooledEnding:
        return SpooledEnding(self.ending, now_ms() - self._age_ms(), self.hold.reserve_trace)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The counters on which it books, or gives back."""
        return self.ending.targets if isinstance(self.ending, Finalize) else self.hold.targets

    @property
    def actual(self) -> Amounts:
        """What it books."""
        return self.ending.actual if isinstance(self.ending, Finalize) else NOTHING

    def bill_attributes(self) -> Attributes:
        """The attributes of its bill, for a span that is recorded."""
        return names.bill_attributes(self.ending.bill) if isinstance(self.ending, Finalize) else {}

    @property
    def log_ids(self) -> Mapping[str, str]:
        return log_ids(self.ending.id, self.call.span.trace)

    def verb_to_send(self) -> Ending:
        """The verb to send, where it is not the one that was made: it is late, or somebody records what it changes."""
        span, watches = self.call.span, self.hold.watches
        if watches:
            # Only entries say exactly what an ending changed, and on that its alerts hang.
            self.call.watches = watches
        wants_entries = span.is_recording or any(watch.thresholds for watch in watches)
        return structs.replace(self.ending, age_ms=self._age_ms(), trace=span.trace, wants_entries=wants_entries)

    def wake_waiter(self, answer: Answer | None = None) -> None:
        """Wake the caller that waits, if there is one."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(answer)

    def wake_waiter_within(self, seconds: float) -> None:
        """Wake the caller so many seconds from now at the latest."""
        if self.waiter is not None:
            asyncio.get_running_loop().call_later(max(0.0, seconds), self.wake_waiter)

    async def pause(self) -> None:
        """Wait before the next attempt, longer each time; cut short where the loop closes."""
        if self.is_last:
            return
        try:
            await asyncio.sleep(self.pause_s)
        except asyncio.CancelledError:
            self.is_last = True
        self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)

    def _age_ms(self) -> int:
        return round((time.monotonic() - self.since_s) * 1000) if self.was_tried else 0


def ending_attributes(hold: Hold, ending: Ending, attributes: LazyAttributes) -> names.Attributes:
    """Those of the span of an ending."""
    amount = names.amounts_attributes(names.AMOUNT_USD, ending.actual) if isinstance(ending, Finalize) else {}
    return {**hold.attributes(), names.REASON: ending.reason, **amount, **attributes()}


class AnsweredEnding(NamedTuple):
    """An ending that the store has answered: what is needed to send it again. A cost of None is a release."""

    at_s: float
    since_s: float
    id: str
    targets: tuple[Target, ...]
    actual: Amounts | None
    reason: str
    bill: str
    reserve_trace: str
    attributes: Attributes | None

    def verb(self) -> Ending:
        if self.actual is None:
            return Release(self.id, reason=self.reason)
        return Finalize(self.id, self.targets, self.actual, reason=self.reason, bill=self.bill)

    def replay_attributes(self) -> Attributes:
        """Those of the span of its replay."""
        return {**(self.attributes or {}), names.REASON: "replayed"}


class AnsweredEndings:
    """The last REPLAYED_MAX of them, flat: of thousands of objects each full garbage collection would look at all."""

    def __init__(self) -> None:
        self._fields: deque[Any] = deque(maxlen=REPLAYED_MAX * len(AnsweredEnding._fields))

    def add(self, owed: OwedEnding) -> None:
        ending = owed.ending
        attributes = owed.call.span.attributes if owed.call.span.is_recording else None
        targets: tuple[Target, ...] = ()
        actual, bill = None, ""
        if isinstance(ending, Finalize):
            targets, actual, bill = ending.targets, ending.actual, ending.bill
        at_s, trace = time.monotonic(), owed.hold.reserve_trace
        # As the fields of an AnsweredEnding stand; one is made of them if it is sent again.
        self._fields.extend((at_s, owed.since_s, ending.id, targets, actual, ending.reason, bill, trace, attributes))

    def take_all(self) -> list[AnsweredEnding]:
        """The oldest first; none of them is kept any longer."""
        one_by_one = iter(self._fields.copy())
        self._fields.clear()
        return list(map(AnsweredEnding._make, zip(*[one_by_one] * len(AnsweredEnding._fields), strict=True)))
