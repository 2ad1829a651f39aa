"""Sends what is queued to the receivers, each in a task of its own, so that one that hangs keeps no other waiting.

Theory of operation. To one receiver alerts go one after the other, in order. Where one is not taken, later ones of the
same account wait behind it and those of other accounts go on, until three in a row were not taken: then the receiver is
down, and left alone for a while. An answer that asking again would not change (most of 4xx, a redirect) ends the matter
for that alert; 410 does for all of a receiver. What is not taken within a day is given up.

An alert is sent at least once. It is sent twice where a worker dies between the answer and the note of it, or where the
answer was lost on the way; its id is the same each time.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence

from budget_middleware.alerts.board import StandBackError
from budget_middleware.alerts.posting import Answered, post
from budget_middleware.alerts.queue import AlertQueue, Delivery, Queued, Sending
from budget_middleware.alerts.shapes import post_of
from budget_middleware.core.alerts.alerts import Alert
from budget_middleware.core.alerts.plan import Receiver
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Telemetry

SEND_TIMEOUT_S = 10.0
GIVE_UP_MS = 24 * 3_600_000
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 1_000, 300_000
DOWN_AFTER = 3
"""So many alerts in a row that are not taken mean that the receiver is down."""

_log = logging.getLogger("budget_middleware")


def pause_ms(tries: int, *, chance: float) -> int:
    """How long to wait after so many tries: twice as long each time, and spread by a chance from 0 to 1."""
    longest = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(tries - 1, 20))
    return round(longest * (0.5 + chance / 2))


def _longer_pause_ms(tries: int) -> int:
    return pause_ms(tries, chance=random.random())  # noqa: S311 - spreads the workers, and hides nothing


async def send(
    alert: Alert, receiver: Receiver, *, ledger: str, attempt: int = 1, timeout_s: float = SEND_TIMEOUT_S
) -> Answered:
    """Send one alert to one receiver, once."""
    message = post_of(alert, receiver, ledger=ledger, attempt=attempt, time_s=int(time.time()))
    return await post(receiver.url, message, timeout_s=timeout_s)


class Courier:
    """Sends the queue of one ledger. ``now_ms`` is the store's clock."""

    def __init__(
        self,
        queue: AlertQueue,
        receivers: Sequence[Receiver],
        *,
        ledger: str,
        telemetry: Telemetry,
        now_ms: Callable[[], int],
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        self._queue = queue
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._ledger = ledger
        self._telemetry = telemetry
        self._now_ms = now_ms
        self._timeout_s = timeout_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # How many alerts in a row a receiver has not taken, and until when it is left alone for that.
        self._not_taken: dict[str, int] = {}
        self._down_until_ms: dict[str, int] = {}
        self._gone: set[str] = set()

    @property
    def names(self) -> list[str]:
        return list(self._receivers)

    def begin(self) -> None:
        """Send what is due, in tasks beside whoever calls; a receiver that is being sent to is left to that."""
        waiting = self._queue.waiting()
        for name in self._receivers:
            if (task := self._tasks.get(name)) is not None and not task.done():
                continue
            if self._now_ms() >= self._down_until_ms.get(name, 0) and _due(waiting, name, self._now_ms()):
                self._tasks[name] = asyncio.get_running_loop().create_task(self._send_due(self._receivers[name]))

    async def give_up_removed(self) -> None:
        """Of receivers that are not in the setting any more; workers with the earlier one may still send for a day."""
        for queued in self._queue.waiting():
            for name, delivery in queued.deliveries.items():
                is_old = self._now_ms() - queued.alert.time_ms >= GIVE_UP_MS
                if name not in self._receivers and delivery.state is Sending.PENDING and is_old:
                    after = Delivery(Sending.FAILED, delivery.tries, 0, "no longer in BUDGET_ALERTS")
                    await self._queue.put(queued.alert.id, name, after)

    async def wait_until_sent(self) -> None:
        """Wait for what is being sent."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await self.wait_until_sent()

    async def _send_due(self, receiver: Receiver) -> None:
        try:
            await self._send_in_order(receiver)
        except StandBackError:
            pass
        except (StoreUnavailable, StoreRefused) as error:
            # What was sent last may be sent again.
            self._queue.forget()
            _log.warning("alerts wait for the store: %s", error)
        except Exception:  # noqa: BLE001 - a bug of ours must not end all alerts without a word
            self._queue.forget()
            self._down_until_ms[receiver.name] = self._now_ms() + LONGEST_PAUSE_MS
            _log.exception("alerts to %s could not be sent", receiver.name)

    async def _send_in_order(self, receiver: Receiver) -> None:
        blocked: set[str] = set()
        for queued in self._queue.waiting():
            delivery = queued.deliveries.get(receiver.name)
            account = queued.alert.account
            if delivery is None or delivery.state is not Sending.PENDING or account in blocked:
                continue
            if delivery.next_ms > self._now_ms():
                blocked.add(account)
                continue
            after = await self._send_one(queued, receiver, delivery)
            await self._queue.put(queued.alert.id, receiver.name, after)
            if after.state is Sending.PENDING:
                blocked.add(account)
            if self._is_down(receiver.name, has_answered=after.state is not Sending.PENDING):
                return

    def _is_down(self, name: str, *, has_answered: bool) -> bool:
        """Whether a receiver is to be left alone for a while; then one alert tries it, and not three."""
        self._not_taken[name] = in_row = 0 if has_answered else self._not_taken.get(name, 0) + 1
        if in_row < DOWN_AFTER:
            return False
        self._down_until_ms[name] = self._now_ms() + _longer_pause_ms(in_row - DOWN_AFTER + 1)
        return True

    async def _send_one(self, queued: Queued, receiver: Receiver, before: Delivery) -> Delivery:
        if receiver.name in self._gone:
            return Delivery(Sending.FAILED, before.tries, 0, "the receiver has answered 410")
        tries = before.tries + 1
        answered = await send(queued.alert, receiver, ledger=self._ledger, attempt=tries, timeout_s=self._timeout_s)
        after = self._after(queued, answered, tries)
        outcome = "retried" if after.state is Sending.PENDING else str(after.state)
        self._telemetry.metrics.count_delivery(shape=receiver.shape, outcome=outcome)
        if after.state is Sending.FAILED:
            _log.error("alert %s was not taken by %s: %s", queued.alert.id, receiver.name, after.why)
        elif after.state is Sending.PENDING and tries == 1:
            _log.warning("alert %s waits for %s: %s", queued.alert.id, receiver.name, after.why)
        if answered.status == 410:
            self._gone.add(receiver.name)
        return after

    def _after(self, queued: Queued, answered: Answered, tries: int) -> Delivery:
        now_ms = self._now_ms()
        if answered.is_taken:
            return Delivery(Sending.SENT, tries)
        if answered.is_final:
            return Delivery(Sending.FAILED, tries, 0, answered.why)
        if now_ms - queued.alert.time_ms >= GIVE_UP_MS:
            return Delivery(Sending.FAILED, tries, 0, f"given up after a day: {answered.why}")
        wait_ms = max(_longer_pause_ms(tries), answered.retry_after_s * 1000)
        return Delivery(Sending.PENDING, tries, now_ms + wait_ms, answered.why)


def _due(waiting: Sequence[Queued], name: str, now_ms: int) -> bool:
    deliveries = [queued.deliveries[name] for queued in waiting if name in queued.deliveries]
    return any(each.state is Sending.PENDING and each.next_ms <= now_ms for each in deliveries)
