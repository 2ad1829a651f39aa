"""Logs refusals in the store, where ``explain`` reads them: in the background, bounded, and never an error.

Limits that only watch refuse nothing. What they would have refused is summed by limit and day
(`core/limits/shadow.py`), and the sums miss none, however many entries the log drops: all of a second are added up
here, and written together. A write without an answer is not repeated, for that could count it twice; its refusals are
counted as unlogged.
"""

import asyncio
import logging
from collections.abc import Awaitable
from contextvars import Context
from dataclasses import dataclass, field, replace

from budget_middleware.core.answers import Answer
from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.limits.shadow import ShadowLimit, ShadowSum, day_of, limit_of, sum_of
from budget_middleware.core.model import Counter, Rejection
from budget_middleware.core.statuses import Status
from budget_middleware.event_loops import PerEventLoop
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import NO_ANSWER
from budget_middleware.telemetry import Telemetry

EVERY_S = 1.0
"""What was refused meanwhile is written together, so often at most."""

ALIKE = 8
"""So many refusals of the same accounts by the same counter wait one by one; the last stands for those after it."""

AT_MOST = 500
"""So many wait in one event loop; beyond that a refusal that is like none of them is lost, and counted."""

_Alike = tuple[Counter, LimitMode, bool, tuple[str, ...]]
_Sums = dict[tuple[str, ShadowLimit], ShadowSum]

_log = logging.getLogger("budget_middleware")


@dataclass(slots=True)
class _Waiting:
    refusals: dict[_Alike, list[LoggedRefusal]] = field(default_factory=dict)
    n_refusals: int = 0
    sums: _Sums = field(default_factory=dict)
    not_before_s: float = 0.0
    timer: asyncio.TimerHandle | None = None

    def add(self, refusal: LoggedRefusal) -> bool:
        """Whether there was room for it."""
        alike = self._like(refusal)
        if len(alike) < ALIKE and self.n_refusals < AT_MOST:
            alike.append(refusal)
            self.n_refusals += 1
        elif alike:
            alike[-1] = replace(refusal, times=alike[-1].times + refusal.times)
        return bool(alike)

    def _like(self, refusal: LoggedRefusal) -> list[LoggedRefusal]:
        rejection = refusal.rejection
        key = (rejection.target.counter, refusal.mode, rejection.is_held, refusal.accounts)
        if self.n_refusals < AT_MOST:
            return self.refusals.setdefault(key, [])
        return self.refusals.get(key, [])

    def take(self) -> list[LoggedRefusal]:
        """All that waits, the oldest first."""
        taken = [refusal for alike in self.refusals.values() for refusal in alike]
        self.refusals, self.n_refusals = {}, 0
        return sorted(taken, key=lambda refusal: refusal.time_ms)


class RefusalLog:
    """Takes refusals at once and writes them soon, in tasks of the ledger's own."""

    def __init__(self, store: Store, *, tasks: OwnedTasks, telemetry: Telemetry, timeout: SharedTimeout) -> None:
        self._store = store
        self._tasks = tasks
        self._telemetry = telemetry
        self._timeout = timeout
        self._waiting = PerEventLoop(_Waiting)

    def add(self, hold: Hold, answer: Answer, rejection: Rejection, *, mode: LimitMode = LimitMode.ENFORCE) -> None:
        """Log a refusal by a limit of some mode, enforced or not."""
        waiting = self._waiting.current()
        refusal = LoggedRefusal(
            answer.now_ms,
            hold.id,
            tuple(dict.fromkeys(target.account for target in hold.targets)),
            rejection,
            model=hold.model,
            trace=hold.reserve_trace,
            is_enforced=answer.status is Status.REJECTED,
            mode=mode,
        )
        if not waiting.add(refusal):
            self._telemetry.metrics.count_unlogged(1)
        self._write_soon(waiting)

    def add_passed(self, hold: Hold, answer: Answer) -> None:
        """Log and sum what limits that let a request pass would have refused; not soft ones, which only warn."""
        waiting, day = self._waiting.current(), day_of(answer.now_ms)
        for mode, rejection in hold.passed:
            if mode is LimitMode.SOFT:
                continue
            key, newer = (day, limit_of(rejection, mode)), sum_of(rejection, time_ms=answer.now_ms)
            older = waiting.sums.get(key)
            waiting.sums[key] = newer if older is None else older.plus(newer)
            if mode is LimitMode.SHADOW:
                self.add(hold, answer, rejection, mode=mode)
        if waiting.sums:
            self._write_soon(waiting)

    def _write_soon(self, waiting: _Waiting) -> None:
        if waiting.timer is None:
            # In a context of its own: no request's span is the parent of what is written for all of them.
            loop = asyncio.get_running_loop()
            waiting.timer = loop.call_at(waiting.not_before_s, self.write, context=Context())

    def write(self) -> None:
        """Begin to write what waits in this event loop, now."""
        waiting = self._waiting.current()
        if waiting.timer is not None:
            waiting.timer.cancel()
            waiting.timer = None
        refusals, sums = waiting.take(), waiting.sums
        if refusals or sums:
            waiting.sums = {}
            waiting.not_before_s = asyncio.get_running_loop().time() + EVERY_S
            self._tasks.spawn(self._write(refusals, sums))

    async def _write(self, refusals: list[LoggedRefusal], sums: _Sums) -> None:
        if refusals:
            logged = self._store.log_refusals(refusals)
            await self._try(logged, n_refusals=sum(refusal.times for refusal in refusals))
        for day in {day for day, _ in sums}:
            of_day = {limit: each for (its_day, limit), each in sums.items() if its_day == day}
            added = self._store.add_shadow_sums(day, of_day)
            await self._try(added, n_refusals=sum(each.requests for each in of_day.values()))

    async def _try(self, write: Awaitable[None], *, n_refusals: int) -> None:
        try:
            with self._timeout.timeout():
                await write
        except NO_ANSWER as error:
            _log.debug("refusals did not reach the store: %s", error)
            self._telemetry.metrics.count_unlogged(n_refusals)
