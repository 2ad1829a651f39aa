"""A store over several shards: each verb goes to the shards whose counters it concerns.

Theory of operation. A shard is a ledger of its own: it has its own clock, generation, journal and leases, and decides
one verb in one atomic step. A reservation has a *part* on each shard that has some of its counters (`homes` says
which). Parts share the id, and each is idempotent by it.

    reserve                          part by part, see `reserving`
    finalize, release, grow, extend  on all parts at once; whoever repeats them does so on all parts
    adjust                           on each shard once
    transfer, repair                 on one shard only
    sweep, and what operators read   on all shards

Of a reservation that this process made it knows the parts; for any other the accounts of a finalize say it, and every
shard is asked where a verb names an id only. An ending counts as answered once each part has answered it: until then
the ledger owes it, and repeats it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from msgspec import structs

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Repair, Transfer
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.asking import OpenShard, all_of
from budget_middleware.stores.sharded.homes import Keep
from budget_middleware.stores.sharded.parts import (
    Part,
    Parts,
    RecentParts,
    Routes,
    balances_in_order,
    recorded_in,
    status_of,
    whole,
)
from budget_middleware.stores.sharded.reads import ReadsOfShards
from budget_middleware.stores.sharded.reserving import ReservingInParts, keep_where_booked
from budget_middleware.stores.sharded.shard_map import MAIN, ShardMap
from budget_middleware.stores.sharded.shard_store import ShardStore


class ShardedStore(ReservingInParts, ReadsOfShards):
    """Counters in the shards of ``shards``, which ``open_shard`` opens by their names."""

    def __init__(self, shards: ShardMap, open_shard: OpenShard, *, retention: Retention | None = None) -> None:
        super().__init__(shards, open_shard, retention=retention)
        self._routes = Routes()
        self._recent_parts = RecentParts()

    def _suspect_homes(self) -> None:
        super()._suspect_homes()
        self._recent_parts.clear()

    async def finalize(self, verb: Finalize) -> Answer:
        await self._register()
        parts = await self._parts_of(verb.targets, keep=keep_where_booked(verb.targets, verb.actual))
        route = self._routes.get(verb.id)
        if route is not None and route.parts is not parts:
            # An attempt may have held on other counters too.
            named = {part.shard for part in parts}
            parts += tuple([Part(part.shard) for part in route.parts if part.shard not in named])

        def book(at: int, part: Part) -> Finalize:
            # One bill is booked on many counters, and stands in one journal.
            return replace(verb, targets=part.targets, bill="" if at else verb.bill)

        verbs = [book(at, part) for at, part in enumerate(parts)] if len(parts) > 1 else [verb]
        asked = [self.shard(part.shard).finalize(each) for part, each in zip(parts, verbs, strict=True)]
        return await self._ask(Op.FINALIZE, parts, asked, verb.targets)

    async def release(self, verb: Release) -> Answer:
        return await self._ask_parts(Op.RELEASE, verb.id, lambda shard: shard.release(verb))

    async def extend(self, verb: Extend) -> Answer:
        return await self._ask_parts(Op.RESERVE, verb.id, lambda shard: shard.extend(verb))

    async def grow(self, verb: Grow) -> Answer:
        return await self._ask_parts(Op.GROW, verb.id, lambda shard: shard.grow(verb))

    async def expire(self, verb: Expire) -> Answer:
        return await self._ask_parts(Op.EXPIRE, verb.id, lambda shard: shard.expire(verb))

    async def adjust(self, verb: Adjust) -> Answer:
        await self._register()
        parts = await self._parts_of(verb.targets, keep=keep_where_booked(verb.targets, verb.amount))
        asked = [
            self.shard(part.shard).adjust(replace(verb, targets=part.targets, bill="" if at else verb.bill))
            for at, part in enumerate(parts)
        ]
        return await self._ask(Op.ADJUST, parts, asked, verb.targets)

    async def transfer(self, verb: Transfer) -> Answer:
        """StoreRefused between accounts of two shards: no step could move both."""
        await self._register()
        parts = await self._parts_of(verb.targets, keep=keep_where_booked(verb.targets, verb.amount))
        if len(parts) > 1:
            raise StoreRefused(
                f"no transfer is one step between shards {parts[0].shard} and {parts[1].shard}:"
                " credit one account and charge the other with `budget-middleware adjust`"
            )
        return await self._of_one(parts[0].shard, self.shard(parts[0].shard).transfer(verb))

    async def repair(self, verb: Repair) -> Answer:
        await self._register()
        (part,) = await self._parts_of((verb.target,), keep=Keep.LASTING)
        return await self._of_one(part.shard, self.shard(part.shard).repair(verb))

    async def sweep(self, *, at_most: int, trace: str = "") -> Answer:
        """LEASES_DUE while any shard has some left. A shard that was not told of newer limits is told."""
        of_each = max(1, at_most // len(self.map.names))
        answers = await self._answers_of_all(lambda shard: shard.sweep(at_most=of_each, trace=trace))
        newest = self._limits_version
        if any(answer.limits_version < newest for answer in answers):
            await self._announce_version(newest)
        are_due = any(answer.status is Status.LEASES_DUE for answer in answers)
        return self._whole(answers, Status.LEASES_DUE if are_due else Status.EXPIRED)

    async def _ask_parts(self, op: Op, id_: str, ask: Callable[[ShardStore], Awaitable[Answer]]) -> Answer:
        """Ask each shard on which a reservation has a part; all of them, where this process does not know."""
        await self._register()
        route = self._routes.get(id_)
        parts = tuple(map(Part, self.map.names)) if route is None else route.parts
        asked = [ask(self.shard(part.shard)) for part in parts]
        return await self._ask(op, parts, asked, () if route is None else route.targets)

    async def _ask(self, op: Op, parts: Parts, asked: Sequence[Awaitable[Answer]], targets: Sequence[Target]) -> Answer:
        replies = await all_of(asked)
        answers = [self._take(part.shard, reply) for part, reply in zip(parts, replies, strict=True)]
        status = status_of(op, answers)
        return whole(
            answers,
            status,
            generation=self._generations[MAIN],
            limits_version=self._limits_version,
            balances=balances_in_order(targets, parts, answers) if targets else (),
            recorded=recorded_in(status, answers),
        )

    async def _of_one(self, name: str, answer: Awaitable[Answer]) -> Answer:
        found = await self._from(name, answer)
        return structs.replace(
            self._whole((found,), found.status),
            balances=found.balances,
            recorded=found.recorded,
            rejection=found.rejection,
        )

    def _whole(self, answers: Sequence[Answer], status: Status) -> Answer:
        return whole(answers, status, generation=self._generations[MAIN], limits_version=self._limits_version)
