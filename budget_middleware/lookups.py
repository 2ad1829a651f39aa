"""Users' own look-ups of limits and accounts: cached for a while, and never run twice at once for one key."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast
from weakref import WeakKeyDictionary

from aiocache import SimpleMemoryCache
from aiocache.lock import RedLock

TTL_S = 60
"""How long an answer is used before its source is asked again, in seconds."""

MAX_KEYS = 50_000
"""Keys are hostile input: a cache that grew over this is emptied."""

_FLIGHT_S = 10

_T = TypeVar("_T")


class Lookup(Generic[_T]):
    """An async function of one string, cached through aiocache for each event loop.

    Whatever the function raises reaches the caller and is not cached.
    """

    def __init__(self, source: Callable[[str], Awaitable[_T]], *, ttl_s: float = TTL_S) -> None:
        self._source = source
        self._ttl_s = ttl_s
        self._misses = 0
        self._caches: WeakKeyDictionary[asyncio.AbstractEventLoop, SimpleMemoryCache] = WeakKeyDictionary()

    async def __call__(self, key: str) -> _T:
        cache = self._caches.setdefault(asyncio.get_running_loop(), SimpleMemoryCache())
        found = await cache.get(key)
        if found is None:
            async with RedLock(cache, key, lease=_FLIGHT_S):
                found = await cache.get(key)
                if found is None:
                    found = await self._ask(cache, key)
        return cast(_T, found[0])

    async def _ask(self, cache: SimpleMemoryCache, key: str) -> tuple[_T]:
        # A tuple, because None is an answer too.
        answer = (await self._source(key),)
        self._misses += 1
        if self._misses > MAX_KEYS:
            self._misses = 0
            await cache.clear()
        await cache.set(key, answer, ttl=self._ttl_s)
        return answer
