"""What a store has to do beside the verbs to be one shard of several."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from budget_middleware.core.answers import Answer
from budget_middleware.stores.base import Store


class RecordedShards(NamedTuple):
    """How a ledger is sharded, as its main shard remembers it (empty: not at all), and the seq of that shard's
    journal.
    """

    spec: str
    seq: int


class ShardStore(Store, Protocol):
    """The counters of one shard: a ledger of its own, with its own clock, generation, journal and leases."""

    async def claim_homes(self, proposals: Mapping[str, str], *, keep_ms: int) -> Mapping[str, str]:
        """Record the home of each account where none is recorded yet; what is recorded then, for each.

        It is kept for ``keep_ms`` from now on at least, 0: for ever. An empty proposal only asks; the answer is empty
        where nothing is recorded.
        """
        ...

    async def follow_limits(self, version: int, *, instead_of: int | None = None) -> Answer:
        """Refuse reserves from now on that do not have this version of the limits.

        A lower version than the one known changes nothing, unless that one is named: ``instead_of``.
        """
        ...

    async def record_shards(self, spec: str, *, again: bool = False) -> RecordedShards:
        """Record how the ledger is sharded, where nothing is recorded and the journal is empty; what is recorded then.

        ``again``: also where something was written since. An empty spec only asks.
        """
        ...
