"""Gateways whose Postgres is killed while their requests are under way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from budget_middleware.stores.sql.postgres_store import PostgresStore
from tests.databases.postgres_server import PostgresServer
from tests.faults.gateway import Gateway, actual_nanos, running_gateway
from tests.faults.waiting import until_figures
from tests.stores.audit import audit

pytestmark = pytest.mark.processes

WORDS = 40
STREAMS = 6


@pytest.fixture
async def database(own_postgres: PostgresServer) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(own_postgres.url(), timeout_s=10)
    yield store
    await store.aclose()


async def test_what_two_workers_served_is_booked_once_a_killed_server_is_back(
    own_postgres: PostgresServer, database: PostgresStore, tmp_path: Path
):
    settings = {"store_url": own_postgres.url(), "limits": "key=100/day", "on_store_error": "closed"}
    with ExitStack() as stack:
        gateways = [stack.enter_context(running_gateway(tmp_path, settings)) for _ in range(2)]
        begun = asyncio.Semaphore(0)

        async def stream(gateway: Gateway) -> bytes:
            async with gateway.open(play="stream", words=WORDS, pause=0.02) as (_, reader):
                first = await reader.readuntil(b"\n\n")
                begun.release()
                return first + await reader.read()

        streams = [asyncio.create_task(stream(gateway)) for gateway in gateways for _ in range(STREAMS)]
        for _ in streams:
            await begun.acquire()
        await asyncio.to_thread(own_postgres.kill)
        refused = await gateways[0].ask()
        assert refused.status == 503
        for answer in await asyncio.gather(*streams):
            assert b"data: [DONE]" in answer
        await asyncio.to_thread(own_postgres.start)
        await until_figures(database, spent=len(streams) * actual_nanos(words=WORDS))
        await audit(database)
        assert (await gateways[1].ask()).status == 200
