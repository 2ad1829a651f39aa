"""Redis stores whose clock a test can move. They live here because nothing in production may reach them."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
import pytest
from redis.exceptions import NoScriptError

from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.redis.batch import Batch
from budget_middleware.stores.redis.client_errors import outages_named
from budget_middleware.stores.redis.scripts import Script
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql import postgres_driver


class ClockedRedisStore(RedisStore):
    """The real scripts on the test's clock: every call carries the time as its last word.

    Only what the scripts compute follows that clock; a key's own expiry stays with the server's.
    """

    _clock_script = "local function store_time_ms(args) return tonumber(args[#args]) end"

    def __init__(
        self, url: str, *, namespace: str, clock_ms: Callable[[], int], retention: Retention | None = None
    ) -> None:
        # Not the default time-out: other tests share the machine's cores.
        super().__init__(url, namespace=namespace, timeout_s=10, retention=retention)
        self._clock_ms = clock_ms

    def _words(self, batch: Batch) -> tuple[str, ...]:
        return (*super()._words(batch), str(self._clock_ms()))

    async def forget_everything(self) -> None:
        """Delete all keys of this ledger and of no other."""
        client = self._client()
        if keys := [key async for key in client.scan_iter(count=1000) if key.startswith(self._prefix)]:
            await client.unlink(*keys)


def put_on(clock: Callable[[], int], patched: pytest.MonkeyPatch) -> None:
    """Put this process on a test's clock, with all stores that it opens: no window ends between two steps of a test.

    Processes that the test starts are on the machine's clock, as everywhere.
    """
    words = RedisStore._words

    def words_and_time(store: RedisStore, batch: Batch) -> tuple[str, ...]:
        return words(store, batch) if isinstance(store, ClockedRedisStore) else (*words(store, batch), str(clock()))

    patched.setattr(time, "time_ns", lambda: clock() * 1_000_000)
    patched.setattr(RedisStore, "_clock_script", ClockedRedisStore._clock_script)
    patched.setattr(RedisStore, "_words", words_and_time)
    patched.setattr(postgres_driver, "_no_clock", clock)


class FakeRedisStore(ClockedRedisStore):
    """The same on fakeredis, a Redis that lives in this process."""

    def __init__(
        self,
        server: fakeredis.FakeServer,
        *,
        namespace: str,
        clock_ms: Callable[[], int],
        retention: Retention | None = None,
    ) -> None:
        super().__init__("redis://fake", namespace=namespace, clock_ms=clock_ms, retention=retention)
        self._fake = server

    def _client(self) -> Any:
        return fakeredis.FakeAsyncRedis(server=self._fake, decode_responses=True)

    def _clients_of_primaries(self) -> Sequence[Any]:
        return [self._client()]

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Any]:
        with outages_named():
            yield self._client()

    async def _evaluate(self, script: Script, words: tuple[str, ...]) -> Any:
        return await evaluate_by_client(self._client(), script, words)


async def evaluate_by_client(client: Any, script: Script, words: tuple[str, ...]) -> Any:
    """For clients that have no wire: a command at a time."""
    with outages_named():
        try:
            return await client.execute_command("EVALSHA", script.digest, *words)
        except NoScriptError:
            return await client.execute_command("EVAL", script.text, *words)
