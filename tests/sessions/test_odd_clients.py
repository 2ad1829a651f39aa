"""Clients that send as few do, or leave as none should: each call ends once, on every server."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator

import pytest
import websockets

from budget_middleware.core.model import Balance
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.retention import Retention
from tests.sessions.responses import create
from tests.sessions.serving import SERVERS, served, tokens_in
from tests.stores.audit import audit

pytestmark = pytest.mark.processes

APP = "tests.sessions.responses_gateway:app"
KEY = "sk-one"


@pytest.fixture(params=SERVERS)
def gateway(request, tmp_path, server_url, namespace):
    with served(APP, request.param, tmp_path, store_url=server_url, namespace=namespace) as gateway:
        yield gateway


@pytest.fixture
async def store(server_url, namespace) -> AsyncIterator[RedisStore]:
    store = RedisStore(server_url, namespace=namespace, timeout_s=5, retention=Retention())
    yield store
    await audit(store)
    await store.aclose()


def connect(gateway, **options):
    return websockets.connect(
        f"ws://{gateway.address}/v1/responses", additional_headers={"authorization": f"Bearer {KEY}"}, **options
    )


async def until(connection, kind):
    while json.loads(await connection.recv())["type"] != kind:
        pass


async def ended(store, spent):
    """Until nothing is held, and then so much is spent."""
    read = tokens_in(store)
    async with asyncio.timeout(30):
        while (await read(KEY)).reserved:
            await asyncio.sleep(0.01)
    assert await read(KEY) == Balance(spent=spent)


async def test_frames_of_every_kind_and_clients_that_vanish(gateway, store):
    # Compressed (permessage-deflate) where the server does so; in one frame, in pieces, as bytes.
    text = json.dumps(create(tokens=100, input="a b c"))
    async with connect(gateway) as connection:
        for message in (
            text,
            [text[:20], text[20:21], text[21:]],
            text.encode(),
            [text[:9].encode(), text[9:].encode()],
        ):
            await connection.send(message)
            await until(connection, "response.completed")
    await ended(store, 12)

    # Gone without a word, in the middle of an answer.
    connection = await connect(gateway)
    await connection.send(json.dumps(create(tokens=100, input="a b c", store=False)))
    for _ in range(3):
        await until(connection, "response.output_text.delta")
    connection.transport.abort()
    await ended(store, 15)

    # One that never reads, and then goes: the answer is far longer than all buffers on its way.
    connection = await connect(gateway, max_queue=1)
    connection.transport.pause_reading()
    await connection.send(json.dumps(create(tokens=300, input="w " * 200, instructions="big")))
    # Gone any earlier, its call may begin behind the eyes of the audit.
    async with asyncio.timeout(30):
        while await tokens_in(store)(KEY) == Balance(spent=15):
            await asyncio.sleep(0.01)
    connection.transport.abort()
    await ended_at_all(store)


PINGS = {
    "uvicorn, websockets": ("--ws-ping-interval", "0.2", "--ws-ping-timeout", "0.2"),
    "uvicorn, wsproto": ("--ws-ping-interval", "0.2", "--ws-ping-timeout", "0.2"),
    "hypercorn": ("--websocket-ping-interval", "1"),
}


@pytest.mark.parametrize("server", PINGS)
async def test_a_client_that_answers_no_pings(server, tmp_path, server_url, namespace, store):
    named = {"store_url": server_url, "namespace": namespace}
    with served(APP, server, tmp_path, further=PINGS[server], **named) as gateway:
        connection = await connect(gateway, ping_interval=None)
        await connection.send(json.dumps(create(tokens=100, input="a b c", store=False)))
        for _ in range(3):
            await until(connection, "response.output_text.delta")
        # What is not read is not answered either.
        connection.transport.pause_reading()
        if server == "hypercorn":
            # It asks, and does not mind: nobody can tell such a client from one that listens, until it is gone.
            assert (await tokens_in(store)(KEY)).reserved == 100
            connection.transport.abort()
        await ended(store, 3)
        connection.transport.abort()


async def ended_at_all(store):
    read = tokens_in(store)
    async with asyncio.timeout(30):
        while (await read(KEY)).reserved:
            await asyncio.sleep(0.01)


async def test_a_server_that_stops_ends_the_calls_of_its_sessions(gateway, request, store):
    async with connect(gateway) as connection:
        await connection.send(json.dumps(create(tokens=100, input="a b c", store=False)))
        for _ in range(3):
            await until(connection, "response.output_text.delta")
        gateway.process.send_signal(signal.SIGTERM)
        if request.node.callspec.params["gateway"] == "hypercorn" and sys.version_info >= (3, 12):
            # It waits for `asyncio.Server.wait_closed`, which waits for every client since 3.12.
            connection.transport.abort()
        await ended(store, 3)
