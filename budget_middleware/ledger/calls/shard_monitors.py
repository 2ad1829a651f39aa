"""Monitors each shard of a ledger by itself, as `monitor` does with one store."""

import asyncio
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from budget_middleware.core.answers import Answer
from budget_middleware.ledger.calls.monitor import StoreMonitor, StorePosition
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import Store
from budget_middleware.stores.journals import ShardedLedger

_NOWHERE = StorePosition()


class ShardPositions(NamedTuple):
    """How far each shard was when it last answered; ``generation`` is that of the main one."""

    generation: str = ""
    by_shard: Mapping[str, StorePosition] = MappingProxyType({})

    def seq_in(self, shard: str) -> int:
        return self.by_shard.get(shard, _NOWHERE).seq


class ShardMonitors:
    """What a `StoreMonitor` is for one store, for a store over shards."""

    def __init__(self, store: ShardedLedger, *, tasks: OwnedTasks, on_loss: Callable[[], None]) -> None:
        self.seen = ShardPositions()
        self._store = store
        self._tasks = tasks
        self._on_loss = on_loss
        self._clock_offset_ms = 0
        self._monitors: dict[str, StoreMonitor] = {}

    def by_shard(self) -> Mapping[str, StoreMonitor]:
        """The monitors of the shards that have answered."""
        return dict(self._monitors)

    def time_ms(self) -> int:
        """The clock of the shard that decided last; this process's own before the first reply."""
        return time.time_ns() // 1_000_000 + self._clock_offset_ms

    def record_reply(self, answer: Answer, before: ShardPositions, *, now_s: float) -> None:
        """Learn from a reply. ``before`` is what had been seen when its call began."""
        self._clock_offset_ms = answer.now_ms - time.time_ns() // 1_000_000
        for part in answer.parts:
            monitor = self._monitor_of(part.shard)
            monitor.record_reply(part, before.by_shard.get(part.shard, _NOWHERE), now_s=now_s)
        positions = {name: monitor.seen for name, monitor in self._monitors.items()}
        self.seen = ShardPositions(answer.generation, positions)

    def _monitor_of(self, shard: str) -> StoreMonitor:
        monitor = self._monitors.get(shard)
        if monitor is None:
            monitor = StoreMonitor(self._store.shard(shard), tasks=self._tasks, on_loss=self._on_loss)
            self._monitors[shard] = monitor
        return monitor

    def learn_latest(self, answer: Answer) -> None:
        """As of one store, for each shard that acknowledged without entries."""
        for part in answer.parts:
            if not part.written:
                self._monitor_of(part.shard).learn_latest(part)

    async def look_for_loss(self) -> None:
        """Check the journal of each shard. Raises StoreUnavailable or StoreRefused."""
        await asyncio.gather(*[monitor.look_for_loss() for monitor in self._monitors.values()])


class Monitor(Protocol):
    """Either of them. What it has ``seen`` goes back into `record_reply` as it is."""

    @property
    def seen(self) -> Any: ...
    def by_shard(self) -> Mapping[str, StoreMonitor]: ...
    def time_ms(self) -> int: ...
    def record_reply(self, answer: Answer, before: Any, *, now_s: float) -> None: ...
    def learn_latest(self, answer: Answer) -> None: ...
    async def look_for_loss(self) -> None: ...


def monitor_of(store: Store, *, tasks: OwnedTasks, on_loss: Callable[[], None]) -> Monitor:
    """The monitor of a store, whatever it is made of."""
    if isinstance(store, ShardedLedger):
        return ShardMonitors(store, tasks=tasks, on_loss=on_loss)
    return StoreMonitor(store, tasks=tasks, on_loss=on_loss)
