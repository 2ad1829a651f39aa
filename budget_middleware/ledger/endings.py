"""Endings: what is owed to the counters is tried until the store has answered, whoever cancels whatever."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from budget_middleware.core.model import TELLS_RECORDED, Answer, Finalize, Op, Release, Status, Target
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.ledger.attempts import FIRST_PAUSE_S
from budget_middleware.ledger.follower import Call, StoreFollower
from budget_middleware.ledger.hold import Hold
from budget_middleware.ledger.local_ledger import LocalLedger
from budget_middleware.ledger.spool import Spool
from budget_middleware.ledger.spool_lines import SpooledEnding, now_ms
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store, StoreAway, StoreRefused, StoreUnavailable, WrongServer
from budget_middleware.telemetry import SILENT, Telemetry, Told, VerbSpan, names
from budget_middleware.telemetry.names import Attributes
from budget_middleware.telemetry.traceparent import log_ids

REPLAYED_S = 300
"""Endings that were answered in the last so many seconds are sent again when the store has lost writes."""
REPLAYED_MAX = 20_000
REPLAYED_AT_ONCE = 16
"""A replay leaves most of the connections to the requests that arrive meanwhile."""

LONGEST_PAUSE_S = 5.0

Ending = Finalize | Release
Settled = asyncio.Future[Answer | None]
"""What an ending is answered; None where that takes longer than the store's time-out, where the store is away, and
where nothing more can be tried. An ending that can go on does, also where whoever waits for this is cancelled."""

_log = logging.getLogger("budget_middleware")


@dataclass(slots=True, eq=False)
class _Owed:
    """An ending, and since when it is owed (on the monotonic clock): a replay is no younger than its first try.

    Uncertain: a try got no answer; last: the loop closes, there will be no other.
    """

    hold: Hold
    ending: Ending
    told: Told
    since_s: float
    settled: Settled | None = None
    was_tried: bool = False
    is_replay: bool = False
    span: VerbSpan = SILENT
    pause_s: float = FIRST_PAUSE_S
    is_uncertain: bool = False
    is_last: bool = False

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
        """What its bill tells a span that is recorded."""
        return names.bill_attributes(self.ending.bill) if isinstance(self.ending, Finalize) else {}

    @property
    def log_ids(self) -> Mapping[str, str]:
        return log_ids(self.ending.id, self.span.trace)

    def asked_now(self) -> Ending:
        """The verb to send; at once, and with nobody recording, it is the one that was made."""
        if not self.was_tried and self.span is SILENT:
            return self.ending
        span, age_ms = self.span, self._age_ms()
        return replace(self.ending, age_ms=age_ms, trace=span.trace, wants_entries=span.is_recording)

    def tell(self, answer: Answer | None = None) -> None:
        """Let whoever waits go on."""
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(answer)

    def tell_within(self, seconds: float) -> None:
        """Let whoever waits go on so many seconds from now at the latest."""
        if self.settled is not None:
            asyncio.get_running_loop().call_later(max(0.0, seconds), self.tell)

    async def pause(self) -> None:
        """Wait before the next try, longer each time; cut short where the loop closes."""
        if self.is_last:
            return
        try:
            await asyncio.sleep(self.pause_s)
        except asyncio.CancelledError:
            self.is_last = True
        self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)

    def _age_ms(self) -> int:
        return round((time.monotonic() - self.since_s) * 1000) if self.was_tried else 0


class _Answered(NamedTuple):
    """An ending that the store has answered: what is needed to send it again. A cost of None is a release."""

    at_s: float
    since_s: float
    id: str
    targets: tuple[Target, ...]
    actual: Amounts | None
    reason: str
    bill: str
    reserve_trace: str
    told: Attributes | None

    @classmethod
    def of(cls, owed: _Owed) -> Self:
        ending, told = owed.ending, owed.told() if owed.span.is_recording else None
        targets: tuple[Target, ...] = ()
        actual, bill = None, ""
        if isinstance(ending, Finalize):
            targets, actual, bill = ending.targets, ending.actual, ending.bill
        now_s, trace = time.monotonic(), owed.hold.reserve_trace
        return cls(now_s, owed.since_s, ending.id, targets, actual, ending.reason, bill, trace, told)

    def again(self) -> _Owed:
        told = {**(self.told or {}), names.REASON: "replayed"}
        hold = Hold(payers={}, asked=NOTHING, id=self.id, reserve_trace=self.reserve_trace)
        return _Owed(hold, self._ending(), lambda: told, self.since_s, was_tried=True, is_replay=True)

    def _ending(self) -> Ending:
        if self.actual is None:
            return Release(self.id, reason=self.reason)
        return Finalize(self.id, self.targets, self.actual, reason=self.reason, bill=self.bill)


class _LastAnswered:
    """The last REPLAYED_MAX of them, flat: of thousands of objects each full garbage collection would look at all."""

    def __init__(self) -> None:
        self._fields: deque[Any] = deque(maxlen=REPLAYED_MAX * len(_Answered._fields))

    def add(self, answered: _Answered) -> None:
        self._fields.extend(answered)

    def take_all(self) -> list[_Answered]:
        """The oldest first; none of them is kept any longer."""
        one_by_one = iter(self._fields.copy())
        self._fields.clear()
        return list(map(_Answered._make, zip(*[one_by_one] * len(_Answered._fields), strict=True)))


class Endings:
    """Begins endings in tasks of their own, and remembers them for a time."""

    def __init__(
        self,
        store: Store,
        *,
        follower: StoreFollower,
        telemetry: Telemetry,
        tasks: OwnedTasks,
        timeout: SharedTimeout,
        spool: Spool,
        local: LocalLedger,
    ) -> None:
        self._store = store
        self._follower = follower
        self._telemetry = telemetry
        self._tasks = tasks
        self._timeout = timeout
        self._answered = _LastAnswered()
        self._spool = spool
        self._local = local

    @property
    def waiting(self) -> int:
        """Endings that got no answer at their first try, and none since."""
        return len(self._spool)

    def begin(self, hold: Hold, ending: Ending, told: Told) -> Settled:
        settled: Settled = asyncio.get_running_loop().create_future()
        owed = _Owed(hold, ending, told, time.monotonic(), settled)
        self._tasks.own(self._end(owed), at_end=owed.tell)
        return settled

    def adopt(self) -> None:
        """Take over what processes that are gone have left on disk."""
        for spooled in self._spool.adopt():
            ending = spooled.ending
            hold = Hold(payers={}, asked=NOTHING, id=ending.id, reserve_trace=spooled.reserve_trace)
            since_s = time.monotonic() - max(now_ms() - spooled.since_ms, 0) / 1000
            self._tasks.own(self._end(_Owed(hold, ending, names.because(ending.reason), since_s, was_tried=True)))

    def close(self) -> None:
        """Let go of the disk; what is still owed is left there for another process."""
        self._spool.close()

    def replay(self) -> None:
        """Send the endings of the last minutes again: what the store still knows, it will not book twice."""
        since_s = time.monotonic() - REPLAYED_S
        at_once = asyncio.Semaphore(REPLAYED_AT_ONCE)
        for ending in self._answered.take_all():
            if ending.at_s >= since_s:
                self._tasks.own(self._end_again(ending, at_once))

    async def _end_again(self, ending: _Answered, at_once: asyncio.Semaphore) -> None:
        async with at_once:
            await self._end(ending.again())

    def _end(self, owed: _Owed) -> Coroutine[Any, Any, None]:
        owed.span = self._telemetry.spans.start(
            owed.ending.op,
            reservation_id=owed.hold.id,
            since_seq=self._follower.seen.seq,
            context=owed.hold.context,
            reserve_trace=owed.hold.reserve_trace,
            told=owed.told,
        )
        return self._until_answered(owed)

    async def _until_answered(self, owed: _Owed) -> None:
        """Try until the store answers, or until there is no more to be tried."""
        while True:
            call, wait = self._follower.call(owed.ending.op), self._timeout.timeout(owed.tell)
            try:
                with wait:
                    answer = await self._send(owed)
            except (StoreUnavailable, StoreRefused, TimeoutError, asyncio.CancelledError) as error:
                if isinstance(error, StoreAway):
                    owed.tell()
                elif not owed.was_tried:
                    owed.tell_within(wait.left_s)
                if not self._goes_on(owed, call, error):
                    return
            else:
                self._follower.note(answer, owed.span, call)
                self._settle(owed, answer)
                owed.tell(answer)
                return
            await owed.pause()

    def _goes_on(self, owed: _Owed, call: Call, error: BaseException) -> bool:
        """After a try that got no answer: whether there is to be another one."""
        if not owed.was_tried:
            self._local.end(owed.hold, owed.targets, owed.actual)
        owed.was_tried = True
        owed.is_uncertain = owed.is_uncertain or not isinstance(error, StoreRefused)
        if isinstance(error, StoreUnavailable | WrongServer | TimeoutError):
            self._follower.breaker.note_outage(began_s=call.began_s)
        if owed.is_last or not self._keeps(owed):
            self._give_up(owed, error)
            return False
        # Only a loop that closes cancels this task; what is owed to a counter gets one more try before.
        owed.is_last = isinstance(error, asyncio.CancelledError)
        return True

    def _keeps(self, owed: _Owed) -> bool:
        is_kept = self._spool.keep(owed.spooled)
        if not is_kept:
            self._telemetry.metrics.count_lost()
        return is_kept

    def _send(self, owed: _Owed) -> Awaitable[Answer]:
        if not (owed.is_last or self._follower.breaker.allows()):
            raise StoreAway("the store is away, and was not asked")
        verb = owed.asked_now()
        return self._store.finalize(verb) if isinstance(verb, Finalize) else self._store.release(verb)

    def _settle(self, owed: _Owed, answer: Answer) -> None:
        self._local.settle(owed.ending.id)
        self._local.record(owed.targets, answer.balances)
        # Unless it was sent again on purpose, a copy of this very call may have come first, and nobody told of it.
        was_overtaken = answer.status in TELLS_RECORDED and not owed.is_replay
        self._follower.finish(
            owed.span, answer.status, owed.bill_attributes, is_uncertain=owed.is_uncertain or was_overtaken
        )
        # What an unknown id held, if anything, it holds no more: only a cost may be missing.
        if answer.status is Status.TOO_OLD and owed.ending.op is Op.FINALIZE:
            _log.error(
                "not booked, it came too late to be sure that it was not booked before: %s",
                owed.ending,
                extra=owed.log_ids,
            )
            self._spool.set_aside(owed.spooled)
        else:
            if len(self._spool):
                self._spool.settle(owed.spooled)
            self._answered.add(_Answered.of(owed))
            if owed.is_uncertain and not answer.written:
                # An earlier try was applied, and its answer got lost.
                self._follower.learn_latest(answer)

    def _give_up(self, owed: _Owed, error: BaseException) -> None:
        self._local.forget(owed.ending.id)
        told = names.because(str(error))
        self._follower.finish(owed.span, names.UNPROTECTED, told, is_uncertain=owed.is_uncertain)
        _log.error("not booked by this process, the store gave no answer: %s", owed.ending, extra=owed.log_ids)
