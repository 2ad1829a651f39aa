"""Asks the store for runtime limits, one call at a time for each event loop, and keeps what it said in a cache.

All who need something while a call is under way wait for it, and what they need goes together in the next one. So a
thousand requests that meet a changed limit ask the store once.

When the store has lost limits (it was emptied, or fell back to an older state), what is in the cache is more than what
the store has. It is written back before anything is asked for, so that requests are never decided without it.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from budget_middleware.ledger.limit_cache import UNKNOWN_VERSION, LimitCache
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import LimitNews, Store, StoreRefused, StoreUnavailable

ASKED_AT_ONCE = 128
"""Patterns in one call: a server is busy with it for less than a tenth of a millisecond."""

WRITTEN_AT_ONCE = 200

INDEX_EVERY_S = 10.0
"""An incomplete index is completed by reading all limits, which is not done more often."""

OnOutage = Callable[[float], None]
"""Called when a call got no answer, with its begin on the monotonic clock."""

_log = logging.getLogger("budget_middleware")


class LimitReader:
    """Of one event loop."""

    def __init__(self, store: Store, *, tasks: OwnedTasks, on_outage: OnOutage) -> None:
        self.cache = LimitCache()
        self._store = store
        self._tasks = tasks
        self._on_outage = on_outage
        self._wanted: dict[str, None] = {}
        self._call: asyncio.Task[StoreUnavailable | StoreRefused | None] | None = None
        self._index_from_s = float("-inf")

    @property
    def version(self) -> int:
        """The version of the limits that the cache has; a store that lost writes is to be asked first."""
        return UNKNOWN_VERSION if self.cache.is_suspect else self.cache.version

    async def look_up(self, patterns: list[str]) -> None:
        """Have the cache know these patterns, if only for the moment. StoreUnavailable or StoreRefused."""
        self._wanted.update(dict.fromkeys(patterns))
        await self._next_call()

    async def refresh(self, refused_version: int) -> None:
        """Have the cache be of another version than the one that the store has just refused as stale."""
        if self.version == refused_version and self._is_asking:
            await self._next_call()
        # Where it is another one by now, somebody else has asked.
        if self.version == refused_version:
            await self._next_call()

    async def check(self) -> None:
        """Ask whether the store has lost limits that are known here, and write them back."""
        if self.cache.is_suspect and self.cache.knows_any:
            await self._next_call()

    async def _next_call(self) -> None:
        if self._call is None or not self._is_asking:
            self._call = self._tasks.own(self._ask())
        # Whoever is cancelled leaves the others waiting.
        if (error := await asyncio.shield(self._call)) is not None:
            raise error

    @property
    def _is_asking(self) -> bool:
        # A call that is done answers nobody who comes now.
        return self._call is not None and not self._call.done()

    async def _ask(self) -> StoreUnavailable | StoreRefused | None:
        """One call; its failure is the result, for all who wait."""
        began_s = time.monotonic()
        wanted = list(self._wanted)[:ASKED_AT_ONCE]
        for pattern in wanted:
            del self._wanted[pattern]
        try:
            await self._read(wanted)
        except StoreUnavailable as error:
            self._on_outage(began_s)
            return error
        except StoreRefused as error:
            return error
        return None

    async def _read(self, wanted: list[str]) -> None:
        news = await self._store.limit_news(wanted, since_version=self.cache.version)
        if self.cache.has_lost(news):
            await self._write_back(news)
            self.cache = self.cache.successor()
            news = await self._store.limit_news(wanted, since_version=UNKNOWN_VERSION)
        self.cache.take(news, wanted)
        if not news.is_indexed and time.monotonic() >= self._index_from_s:
            self._index_from_s = time.monotonic() + INDEX_EVERY_S
            self._tasks.own(self._index())

    async def _write_back(self, news: LimitNews) -> None:
        cache, written = self.cache, 0
        for known in cache.known(reports_loss=cache.saw_loss(news), at_once=WRITTEN_AT_ONCE):
            written += len((await self._store.write_back_limits(known)).limits)
        _log.warning(
            "the store lost limits: of %d runtime limits that this worker knew, %d were missing or older there and are"
            " written back",
            cache.limits_known,
            written,
        )

    async def _index(self) -> None:
        try:
            if await self._store.index_limits():
                await self._next_call()
        except (StoreUnavailable, StoreRefused) as error:
            _log.debug("the index of limits is not complete, tried again later: %s", error)
