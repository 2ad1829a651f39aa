"""Endings: what is owed to the counters is tried until the store has answered, whoever cancels whatever."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from budget_middleware import telemetry as names
from budget_middleware.core.model import Answer, Finalize, Op, Release, Status
from budget_middleware.ledger.follower import StoreFollower
from budget_middleware.ledger.hold import Hold
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import Store, StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Attributes, Telemetry, VerbSpan

REPLAYED_S = 300
"""Endings of the last so many seconds are sent again when the store has lost writes."""
REPLAYED_MAX = 20_000

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 5.0

Ending = Finalize | Release
EndingTask = asyncio.Task[Answer | None]

_log = logging.getLogger("budget_middleware")


class Endings:
    """Begins endings in tasks of their own. ``waiting`` is how many of them the store has not answered yet."""

    def __init__(
        self,
        store: Store,
        *,
        follower: StoreFollower,
        telemetry: Telemetry,
        tasks: OwnedTasks,
        timeout_s: float,
    ) -> None:
        self._store = store
        self._follower = follower
        self._telemetry = telemetry
        self._tasks = tasks
        self._timeout_s = timeout_s
        self._recent: deque[tuple[float, Hold, Ending]] = deque(maxlen=REPLAYED_MAX)
        self.waiting = 0

    def begin(self, hold: Hold, ending: Ending, attributes: Attributes) -> EndingTask:
        return self._tasks.own(self._end(hold, ending, attributes))

    async def settled(self, ending: EndingTask) -> Answer | None:
        """The answer of an ending, or None if it takes longer than the store's time-out; it goes on then."""
        done, _ = await asyncio.wait({ending}, timeout=self._timeout_s)
        if not done or ending.cancelled() or ending.exception() is not None:
            return None
        return ending.result()

    def replay(self) -> None:
        """Send the endings of the last minutes again: what the store still knows, it will not book twice."""
        since = time.monotonic() - REPLAYED_S
        recent = [(hold, ending) for at, hold, ending in self._recent if at >= since]
        self._recent.clear()
        for hold, ending in recent:
            self.begin(hold, ending, {names.REASON: "replayed"})

    async def _end(self, hold: Hold, ending: Ending, attributes: Attributes) -> Answer | None:
        span = self._telemetry.start(
            Op.FINALIZE if isinstance(ending, Finalize) else Op.RELEASE,
            reservation_id=hold.id,
            since_seq=self._follower.seen.seq,
            context=hold.context,
            reserve_trace=hold.reserve_trace,
            attributes=attributes,
        )
        answer = await self._until_answered(lambda age_ms: self._send(ending, age_ms, span.trace), span)
        if answer is None:
            _log.error("not booked, the store gave no answer before the end: %s", ending)
        elif answer.status is Status.TOO_OLD:
            _log.error("not booked, it came too late to be sure that it was not booked before: %s", ending)
        else:
            self._recent.append((time.monotonic(), hold, ending))
        return answer

    async def _send(self, ending: Ending, age_ms: int, trace: str) -> Answer:
        if isinstance(ending, Finalize):
            return await self._store.finalize(replace(ending, age_ms=age_ms, trace=trace))
        return await self._store.release(replace(ending, age_ms=age_ms, trace=trace))

    async def _until_answered(self, send: Callable[[int], Awaitable[Answer]], span: VerbSpan) -> Answer | None:
        """Try until the store answers; None: this task was cancelled, and the one try after that failed too."""
        started = time.monotonic()
        pause_s = FIRST_PAUSE_S
        is_uncertain = is_last = False
        while True:
            before = self._follower.seen
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await send(round((time.monotonic() - started) * 1000))
            except (StoreUnavailable, StoreRefused, TimeoutError, asyncio.CancelledError) as error:
                is_uncertain = is_uncertain or not isinstance(error, StoreRefused)
                if is_last:
                    told = {names.REASON: str(error)}
                    self._follower.finish(span, names.UNPROTECTED, told, is_uncertain=is_uncertain)
                    return None
                # Only a loop that closes cancels this task; what is owed to a counter gets one more try before.
                is_last = isinstance(error, asyncio.CancelledError)
                _log.warning("an ending got no answer and is tried again: %r", error)
            else:
                self._follower.finish(span, answer.status, is_uncertain=is_uncertain)
                self._follower.note(answer, span, before=before)
                return answer
            is_last = is_last or await self._is_cancelled_in(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _is_cancelled_in(self, pause_s: float) -> bool:
        self.waiting += 1
        try:
            await asyncio.sleep(pause_s)
        except asyncio.CancelledError:
            return True
        finally:
            self.waiting -= 1
        return False
