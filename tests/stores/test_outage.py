"""A server that gives no answer: whoever asked must learn that nobody knows what was applied."""

import asyncio

import pytest

from budget_middleware.core.windows import Period
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.redis import RedisStore
from tests.stores.verbs import reserve


async def unavailable(store: RedisStore) -> None:
    for call in (
        store.reserve(reserve("r1", "0.60")),
        store.sweep(at_most=1),
        store.head(),
        store.limits(),
        store.set_limit("key:a", period=Period.DAY, limit_nanos=1),
        store.counters(),
        store.holds(),
        store.reserved_by_kind(),
        store.journal(after_seq=0, count=1),
        store.latest(count=1),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    await store.aclose()


async def test_nobody_listens():
    await unavailable(RedisStore("redis://127.0.0.1:1", timeout_s=0.2))


async def test_the_server_hangs():
    closing = asyncio.Event()

    async def accept_and_say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await closing.wait()
        writer.close()

    server = await asyncio.start_server(accept_and_say_nothing, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    await unavailable(RedisStore(f"redis://{host}:{port}", timeout_s=0.02))
    closing.set()
    server.close()
    await server.wait_closed()


async def test_the_server_hangs_up():
    async def accept_and_close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept_and_close, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    await unavailable(RedisStore(f"redis://{host}:{port}", timeout_s=5))
    server.close()
    await server.wait_closed()
