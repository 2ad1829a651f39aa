"""A shard in the memory of one process."""

import time
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from budget_middleware.core.answers import Answer
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.shard_store import RecordedShards


class MemoryShard(MemoryStore):
    """See ``ShardStore``. What a process remembers of homes it remembers until it ends."""

    def __init__(self, retention: Retention | None = None, *, clock_ms: Callable[[], int] | None = None) -> None:
        super().__init__(retention, clock_ms=clock_ms or (lambda: time.time_ns() // 1_000_000))
        self._homes: dict[str, tuple[str, int | None]] = {}
        self._shards = ""

    async def claim_homes(self, proposals: Mapping[str, str], *, keep_ms: int) -> Mapping[str, str]:
        with self._transaction:
            return {account: self._claim(account, proposed, keep_ms) for account, proposed in proposals.items()}

    def _claim(self, account: str, proposed: str, keep_ms: int) -> str:
        now_ms = self._clock_ms()
        home, until_ms = self._homes.get(account, ("", 0))
        if until_ms is not None and until_ms <= now_ms:
            home = ""
        if proposed:
            home = home or proposed
            if until_ms is not None:
                self._homes[account] = home, max(until_ms, now_ms + keep_ms) if keep_ms else None
        return home

    async def follow_limits(self, version: int, *, instead_of: int | None = None) -> Answer:
        with self._transaction:
            meta = self._tables.meta
            is_newer = instead_of is None and version > meta.limits_version
            if is_newer or instead_of == meta.limits_version:
                self._tables.put_meta(replace(meta, limits_version=version))
        return await self.head()

    async def record_shards(self, spec: str, *, again: bool = False) -> RecordedShards:
        with self._transaction:
            seq = self._tables.meta.seq
            if not self._shards and (again or seq == 0):
                self._shards = spec
            return RecordedShards(self._shards, seq)
