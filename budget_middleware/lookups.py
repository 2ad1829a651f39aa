"""Users' own look-ups of limits and accounts: cached for a while, and never run twice at once for one key."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from aiocache import SimpleMemoryCache

from budget_middleware.event_loops import PerEventLoop

TTL_S = 60
"""How long an answer is used before its source is asked again, in seconds."""

MAX_KEYS = 50_000
"""Keys are hostile input: a cache that grew over this is emptied."""

_T = TypeVar("_T")


@dataclass(slots=True)
class _Known(Generic[_T]):
    """What one event loop knows, and what it is asking."""

    # Without aiocache's own time-out, which would make a task of every look at a dictionary.
    cache: SimpleMemoryCache = field(default_factory=lambda: SimpleMemoryCache(timeout=None))
    flights: "dict[str, asyncio.Task[_T]]" = field(default_factory=dict)
    misses: int = 0


class Lookup(Generic[_T]):
    """An async function of one string, cached through aiocache for each event loop.

    Concurrent callers of one key share one call. What the function raises reaches all of them, and is not cached. A
    waiter that is cancelled leaves the others waiting.
    """

    def __init__(self, source: Callable[[str], Awaitable[_T]], *, ttl_s: float = TTL_S) -> None:
        self._source = source
        self._ttl_s = ttl_s
        self._known = PerEventLoop[_Known[_T]](_Known)

    async def __call__(self, key: str) -> _T:
        known = self._known.current()
        found = await known.cache.get(key)
        if found is not None:
            return cast(tuple[_T], found)[0]
        flight = known.flights.get(key)
        if flight is None:
            flight = known.flights[key] = asyncio.get_running_loop().create_task(self._ask(known, key))
            flight.add_done_callback(_retrieve_exception)
        return await asyncio.shield(flight)

    async def _ask(self, known: _Known[_T], key: str) -> _T:
        try:
            answer = await self._source(key)
            known.misses += 1
            if known.misses > MAX_KEYS:
                known.misses = 0
                await known.cache.clear()
            # A tuple, because None is an answer too.
            await known.cache.set(key, (answer,), ttl=self._ttl_s)
            return answer
        finally:
            del known.flights[key]


def _retrieve_exception(flight: "asyncio.Task[_T]") -> None:
    # Else asyncio reports an exception that nobody was left to see.
    if not flight.cancelled():
        flight.exception()
