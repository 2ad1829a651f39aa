"""The Redis store: each verb is one atomic step. Verbs of requests are sent in batches, the others alone."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from budget_middleware.core.answers import Answer
from budget_middleware.core.costs.learning import AnswerGroup, Sums
from budget_middleware.core.limits.shadow import ShadowLimit, ShadowSum
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Repair, Reserve, Transfer
from budget_middleware.stores.base import SHADOW_LIMITS_MAX
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.journals import RemembersShards
from budget_middleware.stores.records.learnt_sums import pack_sums, unpack_sums
from budget_middleware.stores.records.records import ASKED_NOTHING, pack_amounts, pack_tail, pack_targets
from budget_middleware.stores.records.shadow_sums import pack_shadow_limit, pack_shadow_sum
from budget_middleware.stores.redis import keys
from budget_middleware.stores.redis.keys import CHANNEL
from budget_middleware.stores.redis.limits import RedisLimits
from budget_middleware.stores.redis.listening import LISTENED_MS, listen_forever
from budget_middleware.stores.redis.replies import answer_of
from budget_middleware.stores.sharded.registration import UNSHARDED, require_same_shards
from budget_middleware.stores.sharded.shard_store import RecordedShards


class RedisStore(RedisLimits, RemembersShards):
    """Counters in a Redis or Valkey server, shared by every worker."""

    async def check(self) -> None:
        await super().check()
        await self.require_shards()

    async def require_shards(self) -> None:
        require_same_shards(await self.record_shards(UNSHARDED), UNSHARDED)

    async def record_shards(self, spec: str, *, again: bool = False) -> RecordedShards:
        """See ``ShardStore``."""
        recorded, seq = await self._call("record_shards", "", spec, "1" if again else "0")
        return RecordedShards(recorded, int(seq))

    async def reserve(self, verb: Reserve) -> Answer:
        reply = await self._ask(
            f"reserve {verb.lease_ms} {verb.enforce:d} {verb.limits_version} {verb.wants_entries:d}",
            verb.trace,
            verb.id if verb.id.isalnum() else _one_word(verb.id),
            pack_targets(verb.targets),
            pack_amounts(verb.asked) or ASKED_NOTHING,
            pack_amounts(verb.expiry_charge),
        )
        return answer_of(reply, verb.id, targets=verb.targets, asked=verb.asked)

    async def finalize(self, verb: Finalize) -> Answer:
        reply = await self._ask(
            f"finalize {verb.age_ms} {verb.wants_entries:d}",
            verb.trace,
            verb.id if verb.id.isalnum() else _one_word(verb.id),
            pack_targets(verb.targets),
            pack_amounts(verb.actual),
            pack_tail(verb.reason, verb.bill),
        )
        return answer_of(reply, verb.id)

    async def release(self, verb: Release) -> Answer:
        reply = await self._ask(
            f"release {verb.age_ms} {verb.wants_entries:d}{' 1' if verb.forgets else ''}",
            verb.trace,
            _one_word(verb.id),
            pack_tail(verb.reason),
        )
        return answer_of(reply, verb.id)

    async def extend(self, verb: Extend) -> Answer:
        return answer_of(await self._ask(f"extend {verb.lease_ms}", verb.trace, _one_word(verb.id)), verb.id)

    async def grow(self, verb: Grow) -> Answer:
        reply = await self._ask(
            f"grow {verb.lease_ms} {verb.wants_entries:d}",
            verb.trace,
            _one_word(verb.id),
            pack_amounts(verb.to),
            pack_tail(verb.reason),
        )
        return answer_of(reply, verb.id)

    async def expire(self, verb: Expire) -> Answer:
        return answer_of(await self._call("expire", verb.trace, _one_word(verb.id), pack_tail(verb.reason)), verb.id)

    async def adjust(self, verb: Adjust) -> Answer:
        reply = await self._call(
            "adjust",
            verb.trace,
            _one_word(verb.id),
            pack_targets(verb.targets),
            pack_amounts(verb.amount),
            "1" if verb.any_window else "0",
            pack_tail(verb.reason, verb.bill),
            str(verb.as_of),
        )
        return answer_of(reply, verb.id)

    async def transfer(self, verb: Transfer) -> Answer:
        reply = await self._call(
            "transfer",
            verb.trace,
            _one_word(verb.id),
            pack_targets(verb.sources),
            pack_targets(verb.destinations),
            pack_amounts(verb.amount),
            "1" if verb.any_window else "0",
            pack_tail(verb.reason),
        )
        return answer_of(reply, verb.id, targets=verb.sources, asked=verb.amount)

    async def repair(self, verb: Repair) -> Answer:
        reply = await self._call(
            "repair",
            verb.trace,
            _one_word(verb.id),
            pack_targets((verb.target,)),
            str(verb.spent),
            str(verb.found_at_seq),
            pack_tail(verb.reason),
        )
        return answer_of(reply, verb.id)

    async def sweep(self, *, at_most: int, trace: str = "") -> Answer:
        return answer_of(await self._call("sweep", trace, str(at_most)))

    async def learn(self, sums_by_group: Mapping[AnswerGroup, Sums]) -> Mapping[AnswerGroup, Sums]:
        words = [word for group, sums in sums_by_group.items() for word in (group.name, pack_sums(sums))]
        reply = await self._call("learn", "", *words)
        merged = zip(sums_by_group, map(unpack_sums, reply), strict=True)
        return {group: sums for group, sums in merged if sums is not None}

    async def add_shadow_sums(self, day: str, sums: Mapping[ShadowLimit, ShadowSum]) -> None:
        words = [word for each in sums.items() for word in (pack_shadow_limit(each[0]), pack_shadow_sum(each[1]))]
        await self._call("shadow", "", day, str(SHADOW_LIMITS_MAX), *words)

    async def texts(self, shelf: str) -> Mapping[str, str]:
        async with self._reading() as client:
            found: Mapping[str, str] = await client.hgetall(f"{self._prefix}{keys.TEXTS}:{shelf}")
        return found

    async def swap_text(self, shelf: str, name: str, *, before: str | None, after: str | None, keep_ms: int) -> bool:
        words = [word for text in (before, after) for word in ("0" if text is None else "1", text or "")]
        (was_put,) = await self._call("swap_text", "", shelf, name, str(keep_ms), *words)
        return bool(was_put == "1")

    async def listen(self, on_freed: Callable[[Sequence[str]], object], *, on_ready: Callable[[], object]) -> None:
        await listen_forever(
            await self._place.subscribed_wire(),
            f"{self._prefix}{CHANNEL}",
            on_freed,
            announce=partial(self._call, "listen", "", str(LISTENED_MS)),
            on_ready=on_ready,
            timeout_s=self._timeout_s,
        )


def _one_word(id_: str) -> str:
    """StoreRefused for an id that records could not be read by: see ``records``."""
    if len(id_.split()) != 1 or id_ != id_.strip():
        raise StoreRefused(f"{id_[:80]!r} is no id: it must be one word without white space")
    return id_
