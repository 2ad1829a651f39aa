"""The queue of alerts: what waits to be sent to whom, and the last that was sent. It is in the store.

One record an alert has the state of each receiver. It is swapped as a whole: where two workers send at once, one of
them finds that another has written, and stands back.
"""

import asyncio
import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from budget_middleware.alerts.board import KEEP_MS, QUEUE, StandBackError
from budget_middleware.core.alerts.alerts import Alert, pack_alert, unpack_alert
from budget_middleware.stores.base import Store

WAITING_MAX = 1_000
"""So many alerts may wait: further ones are logged and counted, and not sent."""

DONE_KEPT = 300
"""So many are kept after they were sent or given up, for operators."""

_VERSION = 1


class Sending(StrEnum):
    """What has become of an alert at one receiver."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An alert at one receiver: how often it was tried, when next, and what was answered last."""

    state: Sending = Sending.PENDING
    tries: int = 0
    next_ms: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """An alert, and what has become of it at each receiver, by their names."""

    alert: Alert
    deliveries: dict[str, Delivery] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return all(each.state is not Sending.PENDING for each in self.deliveries.values())

    @property
    def order(self) -> tuple[int, int, int, str]:
        """Of one account: as its entries were written, and of one entry the lowest threshold first."""
        alert = self.alert
        return alert.time_ms, alert.seq, int(alert.facts.get("percent", "0")), alert.id

    def with_delivery(self, name: str, delivery: Delivery) -> "Queued":
        return replace(self, deliveries={**self.deliveries, name: delivery})


def pack_queued(queued: Queued) -> str:
    to = {name: [str(each.state), each.tries, each.next_ms, each.why] for name, each in queued.deliveries.items()}
    return json.dumps({"v": _VERSION, "alert": pack_alert(queued.alert), "to": to}, separators=(",", ":"))


def unpack_queued(text: str) -> Queued | None:
    """None for what cannot be read."""
    try:
        fields: dict[str, Any] = json.loads(text)
        deliveries = {
            name: Delivery(Sending(state), int(tries), int(next_ms), str(why))
            for name, (state, tries, next_ms, why) in fields["to"].items()
        }
        return Queued(unpack_alert(fields["alert"]), deliveries)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


async def read_queue(store: Store) -> list[Queued]:
    """All that is queued, the oldest first."""
    found = [queued for queued in map(unpack_queued, (await store.texts(QUEUE)).values()) if queued is not None]
    return sorted(found, key=lambda queued: queued.order)


class AlertQueue:
    """The queue, as the worker knows it that has the lease."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._texts: dict[str, str] | None = None
        self._queued: dict[str, Queued] = {}
        # Receivers are sent to side by side, and share the records.
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Read it again before anything else is done: another worker may have written."""
        self._texts = None

    async def load(self) -> None:
        if self._texts is not None:
            return
        texts = dict(await self._store.texts(QUEUE))
        known = {id_: unpack_queued(text) for id_, text in texts.items()}
        self._queued = {id_: queued for id_, queued in known.items() if queued is not None}
        self._texts = texts

    def waiting(self) -> list[Queued]:
        """What is not done, in order."""
        return sorted((each for each in self._queued.values() if not each.is_done), key=lambda each: each.order)

    async def add(self, alert: Alert, names: list[str]) -> bool:
        """Queue an alert, unless it is there; False where there is no room."""
        await self.load()
        async with self._lock:
            if alert.id in self._queued:
                return True
            if sum(not each.is_done for each in self._queued.values()) >= WAITING_MAX:
                return False
            await self._swap(Queued(alert, {name: Delivery() for name in names}))
            await self._drop_oldest_done()
            return True

    async def put(self, id_: str, name: str, delivery: Delivery) -> None:
        """Write down what has become of an alert at a receiver. StandBackError where another worker writes too."""
        async with self._lock:
            if self._texts is None:
                raise StandBackError
            await self._swap(self._queued[id_].with_delivery(name, delivery))

    async def _swap(self, queued: Queued) -> None:
        assert self._texts is not None, "it is loaded before it is changed"
        id_, after = queued.alert.id, pack_queued(queued)
        before = self._texts.get(id_)
        if not await self._store.swap_text(QUEUE, id_, before=before, after=after, keep_ms=KEEP_MS):
            self.forget()
            raise StandBackError
        self._texts[id_], self._queued[id_] = after, queued

    async def _drop_oldest_done(self) -> None:
        assert self._texts is not None, "it is loaded before it is changed"
        done = sorted((each for each in self._queued.values() if each.is_done), key=lambda each: each.order)
        for old in done[: max(0, len(done) - DONE_KEPT)]:
            id_ = old.alert.id
            await self._store.swap_text(QUEUE, id_, before=self._texts[id_], after=None, keep_ms=KEEP_MS)
            del self._texts[id_], self._queued[id_]
