"""A shard in Redis: a ledger with a hash tag of its own. The shards of a ledger share their connections."""

from collections.abc import Mapping, Sequence

from budget_middleware.core.answers import Answer
from budget_middleware.stores.redis.replies import answer_of
from budget_middleware.stores.redis.store import RedisStore


class RedisShard(RedisStore):
    """See ``ShardStore``."""

    async def require_shards(self) -> None:
        """What is recorded in the main shard, the store over all of them looks at."""

    async def neighbours(self) -> Sequence[str]:
        """Without the other shards of this ledger."""
        own = self._prefix.removeprefix("{").removesuffix("}:")
        return [name for name in await super().neighbours() if not name.startswith(f"{own}/")]

    async def claim_homes(self, proposals: Mapping[str, str], *, keep_ms: int) -> Mapping[str, str]:
        words = [word for pair in proposals.items() for word in pair]
        reply = await self._call("claim_homes", "", str(keep_ms), *words)
        return dict(zip(proposals, reply, strict=True))

    async def follow_limits(self, version: int, *, instead_of: int | None = None) -> Answer:
        known = "" if instead_of is None else str(instead_of)
        return answer_of(await self._call("follow_limits", "", str(version), known))
