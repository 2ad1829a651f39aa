"""What operators read of all shards, and what only the main shard has."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from msgspec.structs import replace

from budget_middleware.core.answers import Answer, CounterProof, CounterView, Entry
from budget_middleware.core.costs.learning import AnswerGroup, Sums
from budget_middleware.core.damage import Damage
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.limits.shadow import ShadowDay, ShadowLimit, ShadowSum
from budget_middleware.core.model import Reservation
from budget_middleware.core.units import Unit
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.facts import Fact
from budget_middleware.stores.limit_changes import LimitChanges
from budget_middleware.stores.notes import Note, Topic
from budget_middleware.stores.runtime_limits import (
    KnownLimits,
    LimitNews,
    LimitsPage,
    RuntimeLimits,
    SlotChanges,
    WrittenBack,
)
from budget_middleware.stores.sharded.asking import Shards
from budget_middleware.stores.sharded.parts import joined, whole


class ReadsOfShards(Shards, LimitChanges):
    """The part of a sharded store that changes no counter."""

    async def check(self) -> None:
        await self._of_all(lambda shard: shard.check())

    async def head(self) -> Answer:
        """That of the main shard, and those of all as its parts; ``seq`` is the sum of theirs."""
        *others, main = await self._answers_of_all(lambda shard: shard.head())
        answer = whole((*others, main), main.status, generation=main.generation, limits_version=main.limits_version)
        return replace(answer, seq=sum(part.seq for part in answer.parts))

    async def counters(self, account: str | None = None) -> Sequence[CounterView]:
        if account is None:
            found = await self._of_all(lambda shard: shard.counters())
            return sorted(chain.from_iterable(views for _, views in found), key=lambda view: view.counter)
        await self._register()
        home = await self._homes.look_up(account)
        return await self.shard(home).counters(account) if home is not None else []

    async def proofs(self) -> Sequence[CounterProof]:
        """Each with the seq of its own shard's journal: see `journals_of`."""
        found = await self._of_all(lambda shard: shard.proofs())
        return sorted(chain.from_iterable(proofs for _, proofs in found), key=lambda proof: proof.counter)

    async def damage(self, *, mend: bool = False) -> Sequence[Damage]:
        found = await self._of_all(lambda shard: shard.damage(mend=mend))
        return list(chain.from_iterable(damages for _, damages in found))

    async def holds(self) -> Sequence[Reservation]:
        by_id: dict[str, list[Reservation]] = {}
        for _, holds in await self._of_all(lambda shard: shard.holds()):
            for hold in holds:
                by_id.setdefault(hold.id, []).append(hold)
        held = [hold for hold in map(joined, by_id.values()) if hold is not None]
        return sorted(held, key=lambda hold: (hold.created_ms, hold.id))

    async def reservation(self, id_: str) -> Reservation | None:
        found = await self._of_all(lambda shard: shard.reservation(id_))
        return joined([known for _, known in found if known is not None])

    async def reserved_by_kind(self) -> Mapping[tuple[Unit, str], int]:
        sums: dict[tuple[Unit, str], int] = {}
        for _, by_kind in await self._of_all(lambda shard: shard.reserved_by_kind()):
            for kind, reserved in by_kind.items():
                sums[kind] = sums.get(kind, 0) + reserved
        return sums

    async def journal(self, *, after_seq: int, count: int) -> Sequence[Entry]:  # noqa: ARG002 - see Store
        """StoreRefused: each shard has a journal of its own, see `journals_of`."""
        raise StoreRefused("a ledger with shards has no journal of its own: each of them has one")

    async def latest(self, *, count: int, account: str | None = None) -> Sequence[Entry]:
        """By the shards' clocks; the entries of one shard in the order of their seq."""
        if account is not None:
            await self._register()
            home = await self._homes.look_up(account)
            found = [(home, await self.shard(home).latest(count=count, account=account))] if home is not None else []
        else:
            found = await self._of_all(lambda shard: shard.latest(count=count))
        entries = [entry._replace(shard=name) for name, some in found for entry in some]
        entries.sort(key=lambda entry: (entry.time_ms, entry.shard, entry.seq))
        return entries[-count:] if count else []

    async def listen(self, on_freed: Callable[[Sequence[str]], object], *, on_ready: Callable[[], object]) -> None:
        missing = set(self.map.names)

        async def listen_to(name: str) -> None:
            def is_ready() -> None:
                missing.discard(name)
                if not missing:
                    on_ready()

            await self.shard(name).listen(on_freed, on_ready=is_ready)

        try:
            async with asyncio.TaskGroup() as listeners:
                for name in self.map.names:
                    listeners.create_task(listen_to(name))
        except* (StoreUnavailable, StoreRefused) as errors:
            raise errors.exceptions[0] from None

    # What the main shard has for all.

    async def learn(self, sums_by_group: Mapping[AnswerGroup, Sums]) -> Mapping[AnswerGroup, Sums]:
        return await self._main.learn(sums_by_group)

    async def add_note(self, topic: Topic, text: str) -> None:
        await self._main.add_note(topic, text)

    async def notes(self) -> Sequence[Note]:
        return await self._main.notes()

    async def keep_fact(self, name: str, text: str, *, keep_ms: int) -> str:
        return await self._main.keep_fact(name, text, keep_ms=keep_ms)

    async def kept_facts(self, names: Sequence[str]) -> Mapping[str, str]:
        return await self._main.kept_facts(names)

    async def all_facts(self) -> Sequence[Fact]:
        return await self._main.all_facts()

    async def neighbours(self) -> Sequence[str]:
        return await self._main.neighbours()

    async def log_refusals(self, refusals: Sequence[LoggedRefusal]) -> None:
        await self._main.log_refusals(refusals)

    async def refusals(self, *, since_ms: int = 0) -> Sequence[LoggedRefusal]:
        return await self._main.refusals(since_ms=since_ms)

    async def add_shadow_sums(self, day: str, sums: Mapping[ShadowLimit, ShadowSum]) -> None:
        await self._main.add_shadow_sums(day, sums)

    async def shadow_sums(self, *, since_day: str) -> Sequence[ShadowDay]:
        return await self._main.shadow_sums(since_day=since_day)

    async def texts(self, shelf: str) -> Mapping[str, str]:
        return await self._main.texts(shelf)

    async def swap_text(self, shelf: str, name: str, *, before: str | None, after: str | None, keep_ms: int) -> bool:
        return await self._main.swap_text(shelf, name, before=before, after=after, keep_ms=keep_ms)

    # Runtime limits. After a change no shard accepts a reserve that knows less.

    async def limits(self) -> RuntimeLimits:
        return await self._main.limits()

    async def limits_page(self, cursor: int = 0) -> LimitsPage:
        return await self._main.limits_page(cursor)

    async def limit_news(self, patterns: Sequence[str], *, since_version: int) -> LimitNews:
        return await self._main.limit_news(patterns, since_version=since_version)

    async def index_limits(self) -> bool:
        return await self._main.index_limits()

    async def write_back_limits(self, known: KnownLimits) -> WrittenBack:
        written = await self._main.write_back_limits(known)
        await self._announce_version(written.version)
        return written

    async def change_limits(self, account: str, changes: SlotChanges, *, at_version: int | None = None) -> int | None:
        await self._register()
        version = await self._main.change_limits(account, changes, at_version=at_version)
        if version is not None:
            await self._announce_version(version)
        return version
