"""The journals of a ledger: one, or one of each of its shards."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from budget_middleware.stores.base import Store


class RemembersShards(ABC):
    """A store that knows how its ledger was sharded when it was made."""

    @abstractmethod
    async def require_shards(self) -> None:
        """WrongServer, in one line, for a ledger that is sharded in another way than the settings say."""


class ShardedLedger(RemembersShards):
    """What a store over several shards is known by."""

    @abstractmethod
    async def journals(self) -> Mapping[str, Store]:
        """Every shard, by its name."""

    @abstractmethod
    def shard(self, name: str) -> Store:
        """The store of one shard: it has a clock, a generation, a seq and a journal of its own."""


async def journals_of(store: Store) -> Mapping[str, Store]:
    """What has a journal, a head, a generation and a seq of its own: the store, as "", or its shards by their names."""
    return await store.journals() if isinstance(store, ShardedLedger) else {"": store}
