"""A reserve in parts.

Theory of operation. The parts of a reservation are made one after the other, in one order for all requests: the
numbered shards, which have a request's own accounts, then the main one, which all requests share. Each part is one
atomic step on its shard, idempotent by the reservation's id, with a lease of its own. Nothing waits for anything, so
there is no deadlock; and of two requests that meet on two shards, the first to get the first of them goes on.

    part on 03 ── reserved ──> part on main ── reserved ──> the answer: RESERVED
                                    ├─ rejected, stale ──> undo 03, at once ──> the answer: REJECTED, STALE_…
                                    └─ no answer, an error ──> StoreUnavailable: 03 holds on; the same id completes it

*Undo* is a release that forgets: a rejection is not remembered, so that the same id asked again is decided afresh. So
what a refused reserve held on an earlier part is gone one round trip later. Where the undo itself gets no answer it may
still arrive, and would then take what a repeat has held: this process decides nothing for that id any more
(StoreUnavailable).

Whoever dies between two parts, or gives up, leaves parts behind. Their owner releases them by the id, on each shard
that was asked, and whose owner is gone their leases end by themselves.

*Limits* are kept by the main shard, and each shard knows which version of them is the newest. A shard that knows
another version than the worker refuses, as any store does. If the main shard agrees with the worker, it is the shard
that is behind: it is told, and asked again.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.core.verbs import Release, Reserve
from budget_middleware.core.windows import FOREVER_MS
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.sharded.asking import Shards, all_of
from budget_middleware.stores.sharded.homes import Keep
from budget_middleware.stores.sharded.parts import (
    Part,
    Parts,
    RecentParts,
    Routes,
    balances_in_order,
    joined,
    split,
    whole,
)
from budget_middleware.stores.sharded.shard_map import MAIN

_DECIDED_BEFORE = frozenset({Status.DUPLICATE, Status.CONFLICT})
"""The id was known there: what an earlier verb has left is not this one's to undo."""


class ReservingInParts(Shards):
    """The part of a sharded store that reserves."""

    _routes: Routes
    _recent_parts: RecentParts

    async def reserve(self, verb: Reserve) -> Answer:
        await self._register()
        if verb.id in self._routes.undecided:
            raise StoreUnavailable(
                "a part of this reservation was refused, and whether another was given back is unknown"
            )
        keep = Keep.BRIEFLY if verb.expiry_charge == NOTHING else keep_where_booked(verb.targets, verb.expiry_charge)
        parts = await self._parts_of(verb.targets, keep=keep)
        self._routes.add(verb.id, parts, verb.targets)
        answers: list[Answer] = []
        for part in parts:
            try:
                answers.append(await self._reserve_part(verb, part))
            except StoreRefused as error:
                if not answers:
                    raise
                # A refusal says that nothing was applied.
                raise StoreUnavailable(f"a part is held, and shard {part.shard} refused the next: {error}") from error
            if not answers[-1].admits:
                return await self._refused(verb, parts, answers)
        return self._held(verb, parts, answers)

    async def _parts_of(self, targets: tuple[Target, ...], *, keep: Keep) -> Parts:
        parts = self._recent_parts.get(targets, keep=keep)
        if parts is None:
            accounts = [target.account for target in targets]
            homes = self._homes.known(accounts, keep=keep)
            if homes is None:
                homes = await self._homes.claim(accounts, subject=self._subject_in(accounts), keep=keep)
            parts = split(targets, homes, order=self.map.names)
            self._recent_parts.put(targets, parts, keep=keep)
        return parts

    def _subject_in(self, accounts: Iterable[str]) -> str | None:
        """The subject by which a request is sharded."""
        return next((found for found in map(self.map.subject_in, accounts) if found is not None), None)

    async def _reserve_part(self, verb: Reserve, part: Part) -> Answer:
        asked = verb if part.targets == verb.targets else replace(verb, targets=part.targets)
        store = self.shard(part.shard)
        answer = await self._from(part.shard, store.reserve(asked))
        if answer.status is not Status.STALE_LIMITS or part.shard == MAIN:
            return answer
        newest = self._take(MAIN, await self._main.head()).limits_version
        if newest != answer.limits_version:
            await store.follow_limits(newest, instead_of=answer.limits_version)
        return answer if newest != verb.limits_version else await self._from(part.shard, store.reserve(asked))

    async def _refused(self, verb: Reserve, parts: Parts, answers: Sequence[Answer]) -> Answer:
        """After the last of these answers, which does not admit: give back what the parts before it hold."""
        *before, last = answers
        was_known = last.status in _DECIDED_BEFORE
        held = [
            part.shard
            for part, answer in zip(parts, before, strict=False)
            if not (was_known and answer.status is Status.DUPLICATE)
        ]
        undone = await self._undo(verb, held) if held else []
        return whole(
            answers,
            last.status,
            generation=self._generations[MAIN],
            limits_version=self._limits_version,
            balances=last.balances if len(parts) == 1 else (),
            recorded=last.recorded,
            rejection=last.rejection,
            also_written=undone,
        )

    async def _undo(self, verb: Reserve, held: Sequence[str]) -> list[Answer]:
        undo = Release(
            verb.id, trace=verb.trace, reason="another part was refused", wants_entries=verb.wants_entries, forgets=True
        )
        self._routes.undecided.add(verb.id)
        try:
            answers = await all_of([self._from(name, self.shard(name).release(undo)) for name in held])
        except StoreRefused as error:
            # A refusal says that nothing was applied, and the parts are held.
            raise StoreUnavailable(f"a part is held, and giving it back was refused: {error}") from error
        self._routes.undecided.discard(verb.id)
        return answers

    def _held(self, verb: Reserve, parts: Parts, answers: Sequence[Answer]) -> Answer:
        """All parts hold. If one of them did before, this completes an earlier attempt."""
        targets, recorded = verb.targets, None
        if any(answer.recorded for answer in answers):
            # It holds where that attempt has asked it to.
            parts = tuple(
                [
                    Part(part.shard, answer.recorded.targets if answer.recorded else part.targets)
                    for part, answer in zip(parts, answers, strict=True)
                ]
            )
            known = joined([answer.recorded for answer in answers if answer.recorded])
            targets = _in_order_of(verb.targets, [target for part in parts for target in part.targets])
            recorded = replace(known, targets=targets) if known is not None else None
            self._routes.add(verb.id, parts, targets)
        return whole(
            answers,
            Status.DUPLICATE if recorded is not None else Status.RESERVED,
            generation=self._generations[MAIN],
            limits_version=self._limits_version,
            balances=balances_in_order(targets, parts, answers),
            recorded=recorded,
            rejection=next((answer.rejection for answer in answers if answer.rejection is not None), None),
        )


def keep_where_booked(targets: Iterable[Target], amounts: Amounts) -> Keep:
    """For how long the homes of accounts must be kept on which so much is booked."""
    if amounts == NOTHING:
        return Keep.BRIEFLY
    return Keep.FOREVER if any(target.counts_until_ms >= FOREVER_MS for target in targets) else Keep.LASTING


def _in_order_of(asked: Sequence[Target], held: Sequence[Target]) -> tuple[Target, ...]:
    """What is held, as far as possible in the order in which it was asked for."""
    places = {target.counter: at for at, target in enumerate(asked)}
    return tuple(sorted(held, key=lambda target: places.get(target.counter, len(places))))
