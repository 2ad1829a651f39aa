"""Logs refusals in the store, where ``explain`` reads them: in the background, bounded, and never an error."""

import asyncio
import logging
from contextvars import Context
from dataclasses import dataclass, field, replace

from budget_middleware.core.model import Answer, Counter, Rejection, Status
from budget_middleware.core.refusals import LoggedRefusal
from budget_middleware.event_loops import PerEventLoop
from budget_middleware.ledger.hold import Hold
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store, StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Telemetry

EVERY_S = 1.0
"""What was refused meanwhile is written together, so often at most."""

ALIKE = 8
"""So many refusals of the same accounts by the same counter wait one by one; the last stands for those after it."""

AT_MOST = 500
"""So many wait in one event loop; beyond that a refusal that is like none of them is lost, and counted."""

_Alike = tuple[Counter, bool, tuple[str, ...]]

_log = logging.getLogger("budget_middleware")


@dataclass(slots=True)
class _Waiting:
    refusals: dict[_Alike, list[LoggedRefusal]] = field(default_factory=dict)
    n_refusals: int = 0
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
        key = (refusal.rejection.target.counter, refusal.rejection.is_held, refusal.accounts)
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

    def add(self, hold: Hold, answer: Answer, rejection: Rejection) -> None:
        """Log a refusal, enforced or not."""
        waiting = self._waiting.current()
        refusal = LoggedRefusal(
            answer.now_ms,
            hold.id,
            tuple(dict.fromkeys(target.account for target in hold.targets)),
            rejection,
            model=hold.model,
            trace=hold.reserve_trace,
            is_enforced=answer.status is Status.REJECTED,
        )
        if not waiting.add(refusal):
            self._telemetry.metrics.count_unlogged(1)
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
        if refusals := waiting.take():
            waiting.not_before_s = asyncio.get_running_loop().time() + EVERY_S
            self._tasks.spawn(self._write(refusals))

    async def _write(self, refusals: list[LoggedRefusal]) -> None:
        try:
            with self._timeout.timeout():
                await self._store.log_refusals(refusals)
        except (StoreUnavailable, StoreRefused, TimeoutError) as error:
            _log.debug("refusals did not reach the store: %s", error)
            self._telemetry.metrics.count_unlogged(sum(refusal.times for refusal in refusals))
