"""Tells that the store is away, which each worker does by itself: the queue that workers share is in the store.

Once an outage and worker. All of them have one topic, by which PagerDuty makes one incident of them; a webhook gets one
of each worker, with ids of their own.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence

from budget_middleware.alerts.courier import pause_ms, send
from budget_middleware.alerts.posting import Answered
from budget_middleware.core.alerts.alerts import Alert, away_alert
from budget_middleware.core.alerts.plan import Receiver
from budget_middleware.telemetry import Telemetry

AWAY_S = 30.0
"""A failover takes less, and a restart of the store."""

TRIES_MAX = 20
"""Over an hour."""

_log = logging.getLogger("budget_middleware")


class OutageWatch:
    """Watches whether the store answers one worker."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        *,
        name: str,
        worker: str,
        telemetry: Telemetry,
        timeout_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._receivers = receivers
        self._name = name
        self._worker = worker
        self._telemetry = telemetry
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._away_since_s: float | None = None
        self._is_told = False
        self._tasks: set[asyncio.Task[None]] = set()

    def see_answer(self) -> None:
        """The store answers."""
        if self._is_told:
            _log.warning("the store of %s answers again", self._name)
        self._away_since_s, self._is_told = None, False

    def see_away(self) -> None:
        """The store does not answer; to be called now and then, as long as that is so."""
        now_s = self._now_s()
        if self._away_since_s is None:
            self._away_since_s = now_s
        if self._is_told or now_s - self._away_since_s < AWAY_S:
            return
        self._is_told = True
        since_ms, now_ms = round(self._away_since_s * 1000), round(now_s * 1000)
        alert = away_alert(self._name, worker=self._worker, since_ms=since_ms, now_ms=now_ms)
        _log.error("alert: %s (%s)", alert.summary, alert.id)
        self._telemetry.metrics.count_raised(rule=alert.rule)
        for receiver in self._receivers:
            task = asyncio.get_running_loop().create_task(self._send(alert, receiver))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def wait_until_sent(self) -> None:
        """Wait for what is being sent."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.wait_until_sent()

    async def _send(self, alert: Alert, receiver: Receiver) -> None:
        answered = Answered(0, "")
        for attempt in range(1, TRIES_MAX + 1):
            answered = await send(alert, receiver, ledger=self._name, attempt=attempt, timeout_s=self._timeout_s)
            if answered.is_taken or answered.is_final:
                break
            await asyncio.sleep(pause_ms(attempt, chance=random.random()) / 1000)  # noqa: S311 - a spread
        outcome = "sent" if answered.is_taken else "failed"
        self._telemetry.metrics.count_delivery(shape=receiver.shape, outcome=outcome)
        if not answered.is_taken:
            _log.error("alert %s was not taken by %s: %s", alert.id, receiver.name, answered.why)
