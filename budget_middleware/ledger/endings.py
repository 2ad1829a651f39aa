"""Endings: what is owed to the counters is tried until the store has answered, whoever cancels whatever."""

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, replace

from budget_middleware import telemetry as names
from budget_middleware.core.model import Answer, Finalize, Op, Release, Status
from budget_middleware.ledger.attempts import FIRST_PAUSE_S
from budget_middleware.ledger.follower import StoreFollower
from budget_middleware.ledger.hold import Hold
from budget_middleware.ledger.spool import Spool, SpooledEnding, now_ms
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import Store, StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Attributes, Telemetry, VerbSpan

REPLAYED_S = 300
"""Endings that were answered in the last so many seconds are sent again when the store has lost writes."""
REPLAYED_MAX = 20_000
REPLAYED_AT_ONCE = 16
"""A replay leaves most of the connections to the requests that arrive meanwhile."""

LONGEST_PAUSE_S = 5.0

Ending = Finalize | Release
EndingTask = asyncio.Task[Answer | None]

_log = logging.getLogger("budget_middleware")


@dataclass(frozen=True, slots=True, eq=False)
class _Owed:
    """An ending, and since when it is owed (on the monotonic clock): a replay is no younger than its first try."""

    hold: Hold
    ending: Ending
    attributes: Attributes
    since_s: float

    @property
    def spooled(self) -> SpooledEnding:
        return SpooledEnding(self.ending, since_ms=now_ms() - self._age_ms())

    def at_age(self, *, trace: str) -> Ending:
        return replace(self.ending, age_ms=self._age_ms(), trace=trace)

    def _age_ms(self) -> int:
        return round((time.monotonic() - self.since_s) * 1000)


class Endings:
    """Begins endings in tasks of their own, and remembers them for a time."""

    def __init__(
        self,
        store: Store,
        *,
        follower: StoreFollower,
        telemetry: Telemetry,
        tasks: OwnedTasks,
        timeout_s: float,
        spool: Spool,
    ) -> None:
        self._store = store
        self._follower = follower
        self._telemetry = telemetry
        self._tasks = tasks
        self._timeout_s = timeout_s
        self._answered: deque[tuple[float, _Owed]] = deque(maxlen=REPLAYED_MAX)
        self._spool = spool

    @property
    def waiting(self) -> int:
        """Endings that got no answer at their first try, and none since."""
        return len(self._spool)

    def begin(self, hold: Hold, ending: Ending, attributes: Attributes) -> EndingTask:
        return self._tasks.own(self._end(_Owed(hold, ending, attributes, time.monotonic())))

    def adopt(self) -> None:
        """Take over what processes that are gone have left on disk."""
        for spooled in self._spool.adopt():
            hold = Hold(payers={}, amount_nanos=0, id=spooled.ending.id)
            since_s = time.monotonic() - max(now_ms() - spooled.since_ms, 0) / 1000
            attributes = {names.REASON: spooled.ending.reason}
            self._tasks.own(self._end(_Owed(hold, spooled.ending, attributes, since_s)))

    def close(self) -> None:
        """Let go of the disk; what is still owed is left there for another process."""
        self._spool.close()

    async def settled(self, ending: EndingTask) -> Answer | None:
        """The answer of an ending, or None if it takes longer than the store's time-out; it goes on then."""
        done, _ = await asyncio.wait({ending}, timeout=self._timeout_s)
        if not done or ending.cancelled() or ending.exception() is not None:
            return None
        return ending.result()

    def replay(self) -> None:
        """Send the endings of the last minutes again: what the store still knows, it will not book twice."""
        since_s = time.monotonic() - REPLAYED_S
        answered, self._answered = self._answered, deque(maxlen=REPLAYED_MAX)
        at_once = asyncio.Semaphore(REPLAYED_AT_ONCE)
        for at_s, owed in answered.copy():
            if at_s >= since_s:
                self._tasks.own(self._end_again(owed, at_once))

    async def _end_again(self, owed: _Owed, at_once: asyncio.Semaphore) -> None:
        async with at_once:
            await self._end(replace(owed, attributes={**owed.attributes, names.REASON: "replayed"}))

    async def _end(self, owed: _Owed) -> Answer | None:
        span = self._telemetry.start(
            Op.FINALIZE if isinstance(owed.ending, Finalize) else Op.RELEASE,
            reservation_id=owed.hold.id,
            since_seq=self._follower.seen.seq,
            context=owed.hold.context,
            reserve_trace=owed.hold.reserve_trace,
            attributes=owed.attributes,
        )
        answer = await self._until_answered(owed, span)
        if answer is None:
            _log.error("not booked, the store gave no answer in time: %s", owed.ending)
        elif answer.status is Status.TOO_OLD:
            _log.error("not booked, it came too late to be sure that it was not booked before: %s", owed.ending)
        else:
            self._answered.append((time.monotonic(), owed))
        return answer

    async def _until_answered(self, owed: _Owed, span: VerbSpan) -> Answer | None:
        """Try until the store answers; None: this task was cancelled, and the one try after that failed too."""
        pause_s = FIRST_PAUSE_S
        is_uncertain = is_last = False
        while True:
            before = self._follower.seen
            try:
                answer = await self._try(owed, trace=span.trace, is_last=is_last)
            except (StoreUnavailable, StoreRefused, TimeoutError, asyncio.CancelledError) as error:
                is_uncertain = is_uncertain or not isinstance(error, StoreRefused)
                if isinstance(error, StoreUnavailable | TimeoutError):
                    self._follower.breaker.note_outage()
                if is_last or not self._spool.keep(owed.spooled):
                    told = {names.REASON: str(error)}
                    self._follower.finish(span, names.UNPROTECTED, told, is_uncertain=is_uncertain)
                    return None
                # Only a loop that closes cancels this task; what is owed to a counter gets one more try before.
                is_last = isinstance(error, asyncio.CancelledError)
                _log.debug("an ending got no answer and is tried again: %r", error)
            else:
                self._spool.settle(owed.spooled)
                self._follower.finish(span, answer.status, is_uncertain=is_uncertain)
                self._follower.note(answer, span, before=before)
                return answer
            is_last = is_last or await _is_cancelled_in(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _try(self, owed: _Owed, *, trace: str, is_last: bool) -> Answer:
        if not (is_last or self._follower.breaker.allows()):
            raise StoreRefused("the store is away, and was not asked")
        async with asyncio.timeout(self._timeout_s):
            return await self._send(owed.at_age(trace=trace))

    async def _send(self, ending: Ending) -> Answer:
        if isinstance(ending, Finalize):
            return await self._store.finalize(ending)
        return await self._store.release(ending)


async def _is_cancelled_in(pause_s: float) -> bool:
    try:
        await asyncio.sleep(pause_s)
    except asyncio.CancelledError:
        return True
    return False
