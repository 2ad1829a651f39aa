"""Shards in memory and in a real server, on the clock of a test."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from budget_middleware.core.answers import Entry
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.redis.shard import RedisShard
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.asking import OpenShard
from budget_middleware.stores.sharded.memory_shard import MemoryShard
from budget_middleware.stores.sharded.shard_map import MAIN, ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from tests.stores.clocked import ClockedRedisStore


class OneShardStore(ShardedStore):
    """All accounts are on one shard, but for those that all requests share; the journal shown is that shard's."""

    def __init__(self, open_shard: OpenShard, *, retention: Retention | None = None) -> None:
        super().__init__(ShardMap("team", 1), open_shard, retention=retention)

    async def journal(self, *, after_seq: int, count: int) -> Sequence[Entry]:
        (name,) = self.map.numbered
        page = await self.shard(name).journal(after_seq=after_seq, count=count)
        return [entry._replace(shard=name) for entry in page]


def opener_of_memory_shards(clock_ms: Callable[[], int]) -> Callable[[Retention | None, str], MemoryShard]:
    """Opens shards that all who use this opener share."""
    shards: dict[str, MemoryShard] = {}

    def open_shard(retention: Retention | None, name: str) -> MemoryShard:
        if name not in shards:
            shards[name] = MemoryShard(retention, clock_ms=clock_ms)
        return shards[name]

    return open_shard


class ClockedRedisShard(ClockedRedisStore, RedisShard):
    """The real scripts of a shard on the test's clock."""


def opener_of_redis_shards(
    url: str, *, namespace: str, clock_ms: Callable[[], int]
) -> Callable[[Retention | None, str], ClockedRedisShard]:
    def open_shard(retention: Retention | None, name: str) -> ClockedRedisShard:
        own = namespace if name == MAIN else f"{namespace}/{name}"
        return ClockedRedisShard(url, namespace=own, clock_ms=clock_ms, retention=retention)

    return open_shard


class FaultyShard:
    """A shard whose next call of a verb gets no answer: ``next_lost`` says of which, and whether it arrives.

    What does not arrive may come late.
    """

    def __init__(self, shard: Any) -> None:
        self._shard = shard
        self._late: list[Callable[[], Awaitable[Any]]] = []
        self.next_lost: dict[str, bool] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._shard, name)
        if name not in self.next_lost:
            return method

        async def lose(*arguments: Any, **options: Any) -> Any:
            if self.next_lost.pop(name):
                await method(*arguments, **options)
            else:
                self._late.append(partial(method, *arguments, **options))
            raise StoreUnavailable("no reply")

        return lose

    async def deliver_late(self) -> None:
        for call in self._late:
            await call()

    async def empty(self, clock_ms: Callable[[], int]) -> None:
        """All that it had is lost."""
        if isinstance(self._shard, MemoryShard):
            self._shard.__init__(clock_ms=clock_ms)  # type: ignore[misc]
        else:
            await self._shard.forget_everything()
