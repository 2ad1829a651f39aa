"""The home of each account: the one shard that has its counters.

Theory of operation. An account must stay where it is: a key that moves to another team would show a number on one shard
and another number on the next, and nobody could explain either. So where the name of an account does not say its shard,
its home is decided once, by the first request that has the account, and is the shard of that request's subject. The
decision is *recorded* on a shard that follows from the account's name alone, the same for all workers and operators:

    key:1f3a… with team:search  ──>  the directory of key:1f3a… (by hash, shard 07)  ──>  "03", where team:search is

A worker remembers what it was answered. A request whose account has its home elsewhere has one more part.

Records must outlive counters, and random tokens must leave nothing behind. So a record is kept briefly at first, longer
before anything is booked, and for ever where a counter of the account is never forgotten. A worker renews it before
half of that time is over. Where a shard lost writes, it proposes what it remembers.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.shard_map import Anchor, ShardMap
from budget_middleware.stores.sharded.shard_store import ShardStore

HOMES_MAX = 100_000
"""Accounts come from clients: of so many a worker remembers the home."""


class Keep(IntEnum):
    """For how long a record is to be kept at least."""

    BRIEFLY = 1  # As long as an id is remembered: nothing is booked on the account, as far as is known.
    LASTING = 2  # Longer than a counter is kept after its last change.
    FOREVER = 3  # A counter of the account is never forgotten.


class _Home(NamedTuple):
    shard: str
    keep: Keep
    renewed_until_s: float


class Homes:
    """What one worker knows of homes, and how it asks. ``open_shard`` returns the store of a shard by its name."""

    def __init__(
        self,
        shards: ShardMap,
        open_shard: Callable[[str], ShardStore],
        retention: Retention,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shards = shards
        self._open_shard = open_shard
        brief_ms = max(retention.remember_ms, retention.remember_expired_ms)
        self._keep_ms = {Keep.BRIEFLY: brief_ms, Keep.LASTING: retention.counters_ms + brief_ms, Keep.FOREVER: 0}
        self._clock_s = clock_s
        self._known: dict[str, _Home] = {}

    def known(self, accounts: Iterable[str], *, keep: Keep) -> dict[str, str] | None:
        """The home of each account, as far as that needs no shard to be asked; else None."""
        homes: dict[str, str] = {}
        for account in accounts:
            place = self._shards.place_of(account)
            if isinstance(place, Anchor):
                home = self._known.get(place.account)
                if home is None or home.keep < keep or home.renewed_until_s <= self._clock_s():
                    return None
                place = home.shard
            homes[account] = place
        return homes

    async def claim(self, accounts: Iterable[str], *, subject: str | None, keep: Keep) -> dict[str, str]:
        """The home of each account, recorded where it was not. Raises StoreUnavailable or StoreRefused."""
        accounts = tuple(accounts)
        proposal = None if subject is None else self._shards.shard_of(subject)
        proposals: dict[str, str] = {}
        for account in accounts:
            place = self._shards.place_of(account)
            if isinstance(place, Anchor):
                home = self._known.get(place.account)
                proposals[place.account] = home.shard if home is not None else proposal or place.proposal
        if self.known(accounts, keep=keep) is None:
            recorded = await self._ask(proposals, keep_ms=self._keep_ms[keep])
            self._remember(recorded, keep)
        return {account: self._home_of(account) for account in accounts}

    async def look_up(self, account: str) -> str | None:
        """The home of an account; None if none is recorded, and then it has no counters. Records nothing."""
        place = self._shards.place_of(account)
        if not isinstance(place, Anchor):
            return place
        known = self._known.get(place.account)
        if known is not None:
            return known.shard
        return (await self._ask({place.account: ""}, keep_ms=0))[place.account] or None

    def suspect(self) -> None:
        """Some shard has lost writes, records of homes perhaps: propose what is known here before it is relied on."""
        for anchor, home in self._known.items():
            self._known[anchor] = home._replace(renewed_until_s=float("-inf"))

    async def _ask(self, proposals: Mapping[str, str], *, keep_ms: int) -> dict[str, str]:
        by_directory: dict[str, dict[str, str]] = {}
        for anchor, proposed in proposals.items():
            by_directory.setdefault(self._shards.shard_of(anchor), {})[anchor] = proposed
        replies = await asyncio.gather(
            *[self._open_shard(name).claim_homes(some, keep_ms=keep_ms) for name, some in by_directory.items()]
        )
        return {anchor: home for reply in replies for anchor, home in reply.items()}

    def _home_of(self, account: str) -> str:
        place = self._shards.place_of(account)
        return self._known[place.account].shard if isinstance(place, Anchor) else place

    def _remember(self, recorded: Mapping[str, str], keep: Keep) -> None:
        lasts_ms = self._keep_ms[keep] or self._keep_ms[Keep.LASTING]
        until_s = self._clock_s() + lasts_ms / 2000
        for anchor, shard in recorded.items():
            # It goes behind those that were renewed before it.
            before = self._known.pop(anchor, None)
            kept = keep if before is None or before.renewed_until_s <= self._clock_s() else max(keep, before.keep)
            self._known[anchor] = _Home(shard, kept, until_s)
        while len(self._known) > HOMES_MAX:
            del self._known[next(iter(self._known))]
