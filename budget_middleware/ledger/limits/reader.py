"""Asks the store for runtime limits, one call at a time for each event loop, and keeps what it said in a cache.

What is needed while a call is under way goes together in the next one, and its callers wait for that one alone.
So a thousand requests that meet a changed limit ask the store once.

When the store has lost limits (it was emptied, or fell back to an older state), what is in the cache is more than what
the store has. It is written back before anything is asked for, so that requests are never decided without it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from budget_middleware.ledger.limits.cache import LimitCache
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.runtime_limits import NO_VERSION, LimitNews

ASKED_AT_ONCE = 128
"""Patterns in one call: a server is busy with it for less than a tenth of a millisecond."""

WRITTEN_AT_ONCE = 200

INDEX_EVERY_S = 10.0
"""An incomplete index is completed by reading all limits, which is not done more often."""

OnOutage = Callable[[float], None]
"""Called when a call got no answer, with its begin on the monotonic clock."""

_log = logging.getLogger("budget_middleware")


class _Batch:
    """Patterns that are asked for together, and the task that does it."""

    def __init__(self) -> None:
        self.patterns: dict[str, None] = {}
        self.task: asyncio.Task[StoreUnavailable | StoreRefused | None] | None = None


class LimitReader:
    """Of one event loop."""

    def __init__(self, store: Store, *, tasks: OwnedTasks, on_outage: OnOutage) -> None:
        self.cache = LimitCache()
        self._store = store
        self._tasks = tasks
        self._on_outage = on_outage
        self._asked: _Batch | None = None  # Its call is under way.
        self._open: _Batch | None = None  # It waits for its turn, and takes more patterns until then.
        self._last: _Batch | None = None  # Behind which the next one takes its turn.
        self._index_from_s = float("-inf")

    @property
    def version(self) -> int:
        """The version of the limits that the cache has; a store that lost writes is to be asked first."""
        return NO_VERSION if self.cache.is_suspect else self.cache.version

    async def look_up(self, patterns: Collection[str]) -> None:
        """Have the cache know these patterns, if only for the moment. StoreUnavailable or StoreRefused."""
        asked = self._asked
        if asked is not None and patterns and asked.patterns.keys() >= set(patterns):
            await _answer_of(asked)
        else:
            await _answer_of(self._batch_with(patterns))

    def _batch_with(self, patterns: Collection[str]) -> _Batch:
        batch = self._open
        # Its task may have been cancelled before its first step, which would have closed it to more patterns.
        if batch is None or len(batch.patterns) >= ASKED_AT_ONCE or (batch.task is not None and batch.task.done()):
            batch = self._open = _Batch()
            batch.task = self._tasks.spawn(self._take_turn(batch, after=self._last))
            self._last = batch
        batch.patterns.update(dict.fromkeys(patterns))
        return batch

    async def refresh(self, refused_version: int) -> None:
        """Have the cache be of another version than the one that the store has just refused as stale."""
        if self.version == refused_version and self._asked is not None:
            await _answer_of(self._asked)
        # Where it is another one by now, somebody else has asked.
        if self.version == refused_version:
            await self.look_up(())

    async def check(self) -> None:
        """Ask whether the store has lost limits that are known here, and write them back."""
        if self.cache.is_suspect and self.cache.knows_any:
            await self.look_up(())

    async def _take_turn(self, batch: _Batch, *, after: _Batch | None) -> StoreUnavailable | StoreRefused | None:
        """One call at a time; its failure is the result, for all who wait."""
        if after is not None and after.task is not None:
            await asyncio.wait((after.task,))
        self._asked, self._open = batch, None if self._open is batch else self._open
        began_s = time.monotonic()
        try:
            await self._read(list(batch.patterns))
        except StoreUnavailable as error:
            self._on_outage(began_s)
            return error
        except StoreRefused as error:
            return error
        finally:
            self._asked = None
            if self._last is batch:
                self._last = None
        return None

    async def _read(self, wanted: list[str]) -> None:
        news = await self._store.limit_news(wanted, since_version=self.cache.version)
        if self.cache.has_lost(news):
            await self._write_back(news)
            self.cache = self.cache.successor()
            news = await self._store.limit_news(wanted, since_version=NO_VERSION)
        self.cache.take(news, wanted)
        if not news.is_indexed and time.monotonic() >= self._index_from_s:
            self._index_from_s = time.monotonic() + INDEX_EVERY_S
            self._tasks.spawn(self._index())

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
                await self.look_up(())
        except (StoreUnavailable, StoreRefused) as error:
            _log.debug("the index of limits is not complete yet: %s", error)


async def _answer_of(batch: _Batch) -> None:
    """Wait for a batch; a cancelled caller leaves the others waiting."""
    assert batch.task is not None, "it has one as soon as others see it"
    if (error := await asyncio.shield(batch.task)) is not None:
        raise error
