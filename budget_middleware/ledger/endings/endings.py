"""Endings: sends each finalize and release until the store has answered, even if its caller is cancelled.

Theory of operation. An ending is a finalize or a release. It is idempotent by its reservation's id, and must be sent
until the store has answered: else a hold blocks others until its lease expires, or a cost is lost. Two entry points:

    begin(ending) -> AnswerFuture   in a task of the ledger's own, from its first step on
    end(ending)                     in the caller's own task while all goes well: that makes no task and no future, and
                                    the reply takes no detour through the event loop

                        ┌────────────── pause, longer each time ──────────────┐
                        v                                                     │
      begin ──> (task) attempt ── no answer ──> counted here ──> in the spool ┘
                        │ answer
      end ──────┐       v
         first attempt ─┴─> answered: the spool forgets it, the replay list remembers it
                │
                └─ no answer, or the caller is cancelled ──> the task of `begin`, as after its first attempt

A caller waits for the store's time-out at most, all attempts together, and then continues without an answer. A driver
that does not end when it is cancelled could block it for longer; there (``ends_when_cancelled``) `end` calls `begin`.

- *The spool* holds endings that got no answer; with BUDGET_SPOOL_PATH on disk, where another process can adopt them.
- *The replay list* holds the endings that were answered in the last minutes. If the store turns out to have lost
  writes, they are sent again; those that the store still knows are not booked twice.
- *A closing loop* cancels its tasks: each ending that is still owed then gets one more attempt.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable
from functools import partial

from budget_middleware.core.answers import Answer
from budget_middleware.core.statuses import RETURNS_RECORDED, Op, Status
from budget_middleware.core.units import NOTHING
from budget_middleware.core.verbs import Finalize
from budget_middleware.ledger.calls.verb_call import VerbCall, VerbCalls
from budget_middleware.ledger.endings.owed import (
    AnsweredEnding,
    AnsweredEndings,
    AnswerFuture,
    Ending,
    OwedEnding,
    ending_attributes,
)
from budget_middleware.ledger.endings.spool import Spool
from budget_middleware.ledger.endings.spool_lines import now_ms
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.ledger.holds.leases import LeaseKeeper
from budget_middleware.ledger.local_ledger import LocalLedger
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout, Wait
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import NO_ANSWER, StoreAway, StoreUnavailable, WrongServer
from budget_middleware.telemetry import SILENT, LazyAttributes, names

REPLAYED_S = 300
"""Endings that were answered in the last so many seconds are sent again when the store has lost writes."""
REPLAYED_AT_ONCE = 16
"""A replay leaves most of the connections to the requests that arrive meanwhile."""

_UNANSWERED = (*NO_ANSWER, asyncio.CancelledError)

_log = logging.getLogger("budget_middleware")


class Endings:
    """Sends endings until they are answered, and remembers them for a time."""

    def __init__(
        self,
        store: Store,
        *,
        calls: VerbCalls,
        tasks: OwnedTasks,
        timeout: SharedTimeout,
        leases: LeaseKeeper,
        spool: Spool,
        local: LocalLedger,
    ) -> None:
        self._store = store
        self._ends_when_cancelled = store.ends_when_cancelled
        self._calls = calls
        self._tasks = tasks
        self._timeout = timeout
        self._leases = leases
        self._answered = AnsweredEndings()
        self._spool = spool
        self._local = local

    @property
    def waiting(self) -> int:
        """Endings that got no answer at their first attempt, and none since."""
        return len(self._spool)

    def begin(self, hold: Hold, ending: Ending, attributes: LazyAttributes = dict) -> AnswerFuture:
        """End a hold, in a task that no cancellation of the caller reaches."""
        self._leases.drop(hold)
        owed = self._owe(hold, ending, partial(ending_attributes, hold, ending, attributes))
        owed.waiter = asyncio.get_running_loop().create_future()
        self._tasks.spawn(self._until_answered(owed), at_end=owed.wake_waiter)
        return owed.waiter

    async def end(self, hold: Hold, ending: Ending, attributes: LazyAttributes = dict) -> Answer | None:
        """End a hold and wait for the answer, as for that of `begin`. To be awaited at once."""
        if not self._ends_when_cancelled:
            return await self.begin(hold, ending, attributes)
        self._leases.drop(hold)
        owed = self._owe(hold, ending, partial(ending_attributes, hold, ending, attributes))
        wait = self._timeout.timeout()
        try:
            with wait:
                answer = await self._attempt(owed)
        except asyncio.CancelledError as error:
            self._continue_in_task(owed, error, wait)
            raise
        except _UNANSWERED as error:
            return await self._continue_in_task(owed, error, wait)
        except Exception:  # noqa: BLE001 - a bug of a store must not take its answer from a client
            _log.exception("an ending failed: %s", ending, extra=owed.log_ids)
            return None
        self._complete(owed, answer)
        return answer

    def _continue_in_task(self, owed: OwedEnding, error: BaseException, wait: Wait) -> AnswerFuture:
        """After a first attempt in the caller's task that got no answer."""
        owed.waiter = asyncio.get_running_loop().create_future()
        if self._prepare_retry(owed, error, wait):
            # The caller was cancelled, which says nothing about the store or the loop.
            is_callers_own, owed.is_last = owed.is_last, False
            self._tasks.spawn(self._until_answered(owed, pauses_first=not is_callers_own), at_end=owed.wake_waiter)
        else:
            owed.wake_waiter()
        return owed.waiter

    def adopt(self) -> None:
        """Take over what processes that are gone have left on disk."""
        for spooled in self._spool.adopt():
            ending = spooled.ending
            hold = Hold(payers={}, asked=NOTHING, id=ending.id, reserve_trace=spooled.reserve_trace)
            owed = self._owe(hold, ending, names.because(ending.reason))
            owed.since_s -= max(now_ms() - spooled.since_ms, 0) / 1000
            owed.was_tried = True
            self._tasks.spawn(self._until_answered(owed))

    def close(self) -> None:
        """Close the spool; what is still owed stays on disk for another process."""
        self._spool.close()

    def replay(self) -> None:
        """Send the endings of the last minutes again: what the store still knows, it will not book twice."""
        since_s = time.monotonic() - REPLAYED_S
        at_once = asyncio.Semaphore(REPLAYED_AT_ONCE)
        for answered in self._answered.take_all():
            if answered.at_s >= since_s:
                self._tasks.spawn(self._end_again(answered, at_once))

    async def _end_again(self, answered: AnsweredEnding, at_once: asyncio.Semaphore) -> None:
        async with at_once:
            hold = Hold(payers={}, asked=NOTHING, id=answered.id, reserve_trace=answered.reserve_trace)
            owed = self._owe(hold, answered.verb(), answered.replay_attributes)
            owed.since_s, owed.was_tried, owed.is_replay = answered.since_s, True, True
            await self._until_answered(owed)

    def _owe(self, hold: Hold, ending: Ending, attributes: LazyAttributes) -> OwedEnding:
        call = VerbCall(
            self._calls,
            ending.op,
            reservation_id=hold.id,
            context=hold.context,
            reserve_trace=hold.reserve_trace,
            attributes=attributes,
        )
        return OwedEnding(hold, ending, time.monotonic(), call)

    async def _until_answered(self, owed: OwedEnding, *, pauses_first: bool = False) -> None:
        """Try until the store answers, or until there is no more to be tried."""
        if pauses_first:
            await owed.pause()
        while True:
            wait = self._timeout.timeout(owed.wake_waiter)
            try:
                with wait:
                    answer = await self._attempt(owed)
            except _UNANSWERED as error:
                if not self._prepare_retry(owed, error, wait):
                    return
            else:
                self._complete(owed, answer)
                owed.wake_waiter(answer)
                return
            await owed.pause()

    def _attempt(self, owed: OwedEnding) -> Awaitable[Answer]:
        if self._calls.breaker.is_open and not (owed.is_last or self._calls.breaker.allows()):
            raise StoreAway("the store is away, and was not asked")
        is_plain = owed.call.span is SILENT and not (owed.was_tried or owed.hold.watches)
        verb = owed.ending if is_plain else owed.verb_to_send()
        return owed.call.ask(self._store.finalize(verb) if isinstance(verb, Finalize) else self._store.release(verb))

    def _prepare_retry(self, owed: OwedEnding, error: BaseException, wait: Wait) -> bool:
        """After an attempt that got no answer: spool it, report it; False if there is to be no other one."""
        if isinstance(error, StoreAway):
            owed.wake_waiter()
        elif not owed.was_tried:
            owed.wake_waiter_within(wait.left_s)
        if not owed.was_tried:
            self._local.end(owed.hold, owed.targets, owed.actual)
        owed.was_tried = True
        if isinstance(error, StoreUnavailable | WrongServer | TimeoutError):
            owed.call.report_outage()
        if owed.is_last or not self._add_to_spool(owed):
            self._give_up(owed, error)
            return False
        # Only a loop that closes cancels the task; what is owed to a counter gets one more attempt before.
        owed.is_last = isinstance(error, asyncio.CancelledError)
        return True

    def _add_to_spool(self, owed: OwedEnding) -> bool:
        fits = self._spool.add(owed.spooled)
        if not fits:
            self._calls.telemetry.metrics.count_lost()
        return fits

    def _complete(self, owed: OwedEnding, answer: Answer) -> None:
        self._local.record(owed.targets, answer.balances, acknowledged=owed.ending.id)
        if self._calls.waiting.is_used:
            self._calls.waiting.wake(owed.targets)
        if owed.call.span.is_recording:
            # Unless this is a replay, a copy of the call may have come first, whose reply was lost.
            is_overtaken = answer.status in RETURNS_RECORDED and not owed.is_replay
            owed.call.finish(answer.status, owed.bill_attributes, is_overtaken=is_overtaken)
        # What an unknown id held, if anything, it holds no more: only a cost may be missing.
        if not answer.written and answer.status is Status.TOO_OLD and owed.ending.op is Op.FINALIZE:
            late = "not booked: it came too late to rule out that it was booked before: %s"
            _log.error(late, owed.ending, extra=owed.log_ids)
            self._spool.set_aside(owed.spooled)
        else:
            if owed.was_tried:
                self._spool.remove(owed.spooled)
            self._answered.add(owed)
            if owed.call.is_uncertain and not answer.written:
                # An earlier attempt was applied, and its answer got lost.
                self._calls.monitor.learn_latest(answer)

    def _give_up(self, owed: OwedEnding, error: BaseException) -> None:
        self._local.forget(owed.ending.id)
        owed.call.finish(names.UNPROTECTED, names.because(str(error)))
        _log.error("not booked by this process, the store gave no answer: %s", owed.ending, extra=owed.log_ids)
