"""The shards of one ledger, and how they are asked: each is opened when it is first needed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace

from budget_middleware.core.answers import Answer
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.journals import ShardedLedger
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.homes import Homes
from budget_middleware.stores.sharded.registration import require_same_shards
from budget_middleware.stores.sharded.shard_map import MAIN, ShardMap
from budget_middleware.stores.sharded.shard_store import RecordedShards, ShardStore

T = TypeVar("T")

OpenShard = Callable[[str], ShardStore]


class Shards(ShardedLedger):
    """The part of a sharded store that knows its shards. ``open_shard`` makes the store of one by its name."""

    def __init__(self, shards: ShardMap, open_shard: OpenShard, *, retention: Retention | None = None) -> None:
        self.map = shards
        self._open_shard = open_shard
        self._stores: dict[str, ShardStore] = {}
        self._homes = Homes(shards, self.shard, retention or Retention())
        self._is_registered = False
        # As their last answers had them.
        self._generations: dict[str, str] = {}
        self._limits_version = 0

    @property
    def ends_when_cancelled(self) -> bool:
        return self._main.ends_when_cancelled

    def is_silent(self) -> bool:
        """Whether any of them is: a verb waits for the slowest."""
        return any(store.is_silent() for store in list(self._stores.values()))

    async def aclose(self) -> None:
        await asyncio.gather(*[store.aclose() for store in self._stores.values()])

    def shard(self, name: str) -> ShardStore:
        """The store of one shard."""
        store = self._stores.get(name)
        if store is None:
            store = self._stores[name] = self._open_shard(name)
        return store

    @property
    def _main(self) -> ShardStore:
        return self.shard(MAIN)

    async def journals(self) -> Mapping[str, ShardStore]:
        """Every shard by its name: each has a journal."""
        await self._register()
        return {name: self.shard(name) for name in self.map.names}

    async def require_shards(self) -> None:
        await self._register()

    async def _register(self) -> None:
        """Make sure that this ledger has these shards, once. WrongServer where it has others."""
        if self._is_registered:
            return
        main, spec = self._main, self.map.spec
        # What was there before the main shard lost it is recorded again, however much was written since.
        was_here = MAIN in self._generations
        recorded = await main.record_shards(spec, again=was_here)
        require_same_shards(RecordedShards(recorded.spec, max(recorded.seq, 1)), spec)
        self._take(MAIN, await main.head())
        self._is_registered = True

    async def _from(self, name: str, answer: Awaitable[Answer]) -> Answer:
        """The answer of a shard, which says which one it is of."""
        return self._take(name, await answer)

    def _take(self, name: str, answer: Answer) -> Answer:
        known = self._generations.get(name)
        if answer.generation != known:
            self._generations[name] = answer.generation
            if known is not None:
                self._suspect_homes()
                self._is_registered = self._is_registered and name != MAIN
        if name == MAIN:
            self._limits_version = answer.limits_version
        entries = tuple([entry._replace(shard=name) for entry in answer.entries]) if answer.entries else ()
        return replace(answer, shard=name, entries=entries)

    def _suspect_homes(self) -> None:
        self._homes.suspect()

    async def _of_all(self, ask: Callable[[ShardStore], Awaitable[T]]) -> list[tuple[str, T]]:
        """What every shard replies, by its name."""
        await self._register()
        replies = await all_of([ask(self.shard(name)) for name in self.map.names])
        return list(zip(self.map.names, replies, strict=True))

    async def _answers_of_all(self, ask: Callable[[ShardStore], Awaitable[Answer]]) -> list[Answer]:
        return [self._take(name, answer) for name, answer in await self._of_all(ask)]

    async def _announce_version(self, version: int) -> None:
        """Have every shard refuse what knows older limits."""
        await all_of([self.shard(name).follow_limits(version) for name in self.map.numbered])


async def all_of(asked: Sequence[Awaitable[T]]) -> list[T]:
    """The replies in order, after all of them; an error only then: none is left under way.

    StoreRefused only if all refused: it means that nothing was applied. Else StoreUnavailable, for something may be.
    """
    if len(asked) == 1:
        return [await asked[0]]
    replies = await asyncio.gather(*asked, return_exceptions=True)
    errors = [reply for reply in replies if isinstance(reply, BaseException)]
    if not errors:
        return replies  # type: ignore[return-value]
    unexpected = [error for error in errors if not isinstance(error, StoreRefused)]
    if unexpected or len(errors) == len(replies):
        raise (unexpected or errors)[0]
    raise StoreUnavailable(f"one of {len(replies)} shards refused its part: {errors[0]}") from errors[0]
