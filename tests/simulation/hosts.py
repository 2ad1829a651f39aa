"""The one store of a simulation: the executable specification, or the real scripts behind a blocking client.

A host's store answers without ever waiting, so that one verb is one step of the simulation.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self, TypeVar

import redis

from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.redis.batch import VerbReply
from budget_middleware.stores.redis.client_errors import outages_named
from budget_middleware.stores.redis.scripts import Script
from budget_middleware.stores.retention import Retention
from tests.stores.clocked import ClockedRedisStore, evaluate_by_client
from tests.stores.replicas import empty_in_process, restore, snapshot_of

RETENTION = Retention(remember_ms=10**8, remember_expired_ms=10**8)
"""Longer than a simulation: the expectation forgets nothing either."""

_T = TypeVar("_T")


def answered(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("a host's store must not wait")


class Host(Protocol):
    """``proves_every`` so many steps all counters are proved; some stores must scan for that."""

    store: Store
    proves_every: int

    def snapshot(self) -> Any:
        """What a replica has by now."""
        ...

    def restore(self, snapshot: Any) -> None: ...
    def empty(self) -> None: ...
    def close(self) -> None: ...


class MemoryHost:
    proves_every = 1

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._memory = MemoryStore(RETENTION, clock_ms=clock_ms)
        self.store: Store = self._memory

    def snapshot(self) -> dict[str, Any]:
        return snapshot_of(self._memory)

    def restore(self, snapshot: dict[str, Any]) -> None:
        restore(self._memory, snapshot)

    def empty(self) -> None:
        empty_in_process(self._memory)

    def close(self) -> None:
        """Nothing is held open."""


class ScriptsHost:
    """A real server; ``namespace`` is this simulation's own."""

    proves_every = 5

    def __init__(self, client: redis.Redis, *, namespace: str, clock_ms: Callable[[], int]) -> None:
        self._client = client
        self._keys = f"{{{namespace}}}:*"
        self.store: Store = _BlockingStore(client, namespace=namespace, clock_ms=clock_ms)

    def snapshot(self) -> dict[str, tuple[bytes, int]]:
        return {key: (self._dump(key), max(0, int(self._client.pttl(key)))) for key in self._all_keys()}

    def restore(self, snapshot: dict[str, tuple[bytes, int]]) -> None:
        self.empty()
        for key, (value, ttl_ms) in snapshot.items():
            self._client.execute_command("RESTORE", key, ttl_ms, value)

    def empty(self) -> None:
        if keys := self._all_keys():
            self._client.unlink(*keys)

    def close(self) -> None:
        self.empty()

    def _all_keys(self) -> list[str]:
        return list(self._client.scan_iter(self._keys, count=1000))

    def _dump(self, key: str) -> bytes:
        value = self._client.execute_command("DUMP", key, NEVER_DECODE=[])
        assert isinstance(value, bytes)
        return value


class _BlockingStore(ClockedRedisStore):
    def __init__(self, client: redis.Redis, *, namespace: str, clock_ms: Callable[[], int]) -> None:
        super().__init__("redis://blocking", namespace=namespace, clock_ms=clock_ms, retention=RETENTION)
        self._blocking = client

    def _client(self) -> Any:
        return _Blocking(self._blocking)

    def _clients_of_primaries(self) -> Sequence[Any]:
        return [self._client()]

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Any]:
        # Without a wire, which would be waited for.
        with outages_named():
            yield self._client()

    def _ask(self, *verb: str) -> Awaitable[VerbReply]:
        # Alone: `tests/stores/test_together.py` has what goes together.
        return self._call(*verb)

    async def _evaluate(self, script: Script, words: tuple[str, ...]) -> Any:
        return await evaluate_by_client(self._client(), script, words)


class _Blocking:
    """A blocking client with the face of an async one; each command is answered before its caller goes on."""

    def __init__(self, client: Any) -> None:
        self._given = client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._given.reset()

    def pipeline(self, **options: Any) -> "_Blocking":
        return _Blocking(self._given.pipeline(**options))

    async def scan_iter(self, **options: Any) -> Any:
        for key in self._given.scan_iter(**options):
            yield key

    def __getattr__(self, command: str) -> Any:
        method = getattr(self._given, command)

        def ask(*arguments: Any, **options: Any) -> Any:
            reply = method(*arguments, **options)
            return self if reply is self._given else _ready(reply)

        return ask


async def _ready(reply: _T) -> _T:
    return reply
