"""Servers that stop while streams are in flight: each is booked by what was seen of it, and holds nothing.

A stream here has 20 tokens of input and sends 138 of output, $.0014 in all, and then hangs until it is cut off; it has
reserved $.02165.
"""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from budget_middleware.stores.redis import RedisStore
from tests.faults.gateway import Gateway, ServerCommand, uvicorn
from tests.faults.proxy import FaultProxy
from tests.faults.waiting import figures, until_figures

pytestmark = pytest.mark.processes

MESSAGE = {"role": "user", "content": "x" * 65}  # With its keys 80 bytes, which are 20 tokens.
CHUNKS = 138
SEEN_NANOS = 1_400_000
HELD_NANOS = 21_650_000
SETTINGS = {"limits": "key=100/day", "store_timeout_s": "10"}


@asynccontextmanager
async def streams(gateway: Gateway, count: int, *, cleaning_up_s: float = 0.05) -> AsyncIterator[set[str]]:
    """The ids of so many streams whose clients have read all that there is to be read before the app is cut off."""
    ask = {"play": "hang", "messages": [MESSAGE], "max_tokens": 2_163, "words": CHUNKS, "pause": 0}

    async def read(reader: asyncio.StreamReader) -> None:
        for _ in range(CHUNKS):
            await reader.readuntil(b"\n\n")

    async with AsyncExitStack() as stack:
        opening = [stack.enter_async_context(gateway.open(**ask, cleaning_up_s=cleaning_up_s)) for _ in range(count)]
        opened = await asyncio.gather(*opening)
        assert {reply.status for reply, _ in opened} == {200}
        await asyncio.gather(*(read(reader) for _, reader in opened))
        yield {reply.headers["x-budget-reservation-id"] for reply, _ in opened}


async def stop(gateway: Gateway) -> None:
    gateway.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(gateway.process.wait, 60)


def logged(gateway: Gateway, text: str) -> set[str]:
    """The ids in those lines of the log that match."""
    lines = [line for line in gateway.log.read_text().splitlines() if re.search(text, line)]
    return {found for line in lines for found in re.findall(r"\b[0-9a-f]{32}\b", line)}


async def test_f39_streams_that_a_shutdown_cuts_off_are_booked(start_gateway, store: RedisStore):
    gateway = start_gateway(grace_s=1, **SETTINGS)
    async with streams(gateway, 200):
        assert await figures(store) == (0, 4_330_000_000)
        await stop(gateway)
    assert await figures(store) == (280_000_000, 0)


def hypercorn(socket: Path, grace_s: int) -> list[str]:
    return ["hypercorn", "tests.e2e.worker:app", "--bind", f"unix:{socket}", "--graceful-timeout", str(grace_s)]


def granian(socket: Path, grace_s: int) -> list[str]:
    options = ["--interface", "asgi", "--uds", str(socket), "--workers-kill-timeout", str(grace_s)]
    return ["granian", "tests.e2e.worker:app", *options]


def gunicorn(socket: Path, grace_s: int, *, worker: str = "uvicorn_worker.UvicornWorker") -> list[str]:
    options = ["--worker-class", worker, "--bind", f"unix:{socket}", "--graceful-timeout", str(grace_s)]
    return ["gunicorn", "tests.e2e.worker:app", *options, "--no-control-socket"]


def gunicorn_that_leaves_time(socket: Path, grace_s: int) -> list[str]:
    return gunicorn(socket, grace_s + 20, worker="tests.e2e.graceful_worker.GracefulWorker")


# `asyncio.Server.wait_closed` waits for every client since Python 3.12, and hypercorn for it before its grace begins.
WAITS_FOR_EVER = pytest.mark.skipif(sys.version_info >= (3, 12), reason="hypercorn cuts nothing off there")


@pytest.mark.parametrize("command", [pytest.param(hypercorn, marks=WAITS_FOR_EVER), gunicorn_that_leaves_time])
async def test_f39_behind_other_servers(start_gateway, store: RedisStore, command: ServerCommand):
    gateway = start_gateway(command=command, grace_s=1, **SETTINGS)
    async with streams(gateway, 20):
        await stop(gateway)
    assert await figures(store) == (20 * SEEN_NANOS, 0)


@pytest.mark.parametrize("command", [granian, gunicorn])
async def test_what_a_server_kills_comes_back_with_its_leases(start_gateway, store: RedisStore, command: ServerCommand):
    """These let requests run for so long, and then kill the worker without having told it of a shutdown."""
    gateway = start_gateway(command=command, grace_s=1, lease_s="3", remember_s="60", **SETTINGS)
    async with streams(gateway, 5):
        await stop(gateway)
    assert await figures(store) == (0, 5 * HELD_NANOS)
    start_gateway(lease_s="3", remember_s="60", **SETTINGS)
    await until_figures(store, spent=0, reserved=0)


async def test_requests_that_do_not_end_are_ended_by_their_abort_rule(start_gateway, store: RedisStore):
    gateway = start_gateway(grace_s=1, drain_timeout_s="1", **SETTINGS)
    async with streams(gateway, 20, cleaning_up_s=600) as ids:
        await stop(gateway)
    assert await figures(store) == (20 * SEEN_NANOS, 0)
    assert logged(gateway, r"of \$0\.02165 is ended by its abort rule") == ids


async def test_a_shutdown_without_the_store_leaves_endings_on_disk(
    start_gateway, store: RedisStore, proxy: FaultProxy, tmp_path: Path
):
    settings = SETTINGS | {"store_timeout_s": "0.5", "drain_timeout_s": "1", "spool_path": str(tmp_path / "spool")}
    gateway = start_gateway(grace_s=1, **settings)
    async with streams(gateway, 20, cleaning_up_s=600):
        proxy.cut()
        await stop(gateway)
    proxy.mend()
    assert await figures(store) == (0, 20 * HELD_NANOS)
    start_gateway(**settings)
    await until_figures(store, spent=20 * SEEN_NANOS, reserved=0)


async def test_a_shutdown_without_store_and_disk_logs_each_ending(start_gateway, store: RedisStore, proxy: FaultProxy):
    gateway = start_gateway(grace_s=1, **SETTINGS | {"store_timeout_s": "0.5", "drain_timeout_s": "1"})
    async with streams(gateway, 20, cleaning_up_s=600) as ids:
        proxy.cut()
        await stop(gateway)
    assert logged(gateway, rf"not booked by this process.*{SEEN_NANOS}") == ids


async def test_without_lifespan_what_may_be_lost_is_logged(start_gateway, store: RedisStore):
    gateway = start_gateway(command=partial(uvicorn, options=("--lifespan", "off")), grace_s=1, **SETTINGS)
    async with streams(gateway, 20) as ids:
        await stop(gateway)
    assert logged(gateway, r"of \$0\.02165 is in flight.*no lifespan") == ids
    assert await figures(store) == (0, 20 * HELD_NANOS)


async def test_without_lifespan_a_shutdown_that_waits_books_what_ends_meanwhile(start_gateway, store: RedisStore):
    gateway = start_gateway(command=partial(uvicorn, options=("--lifespan", "off")), grace_s=60, **SETTINGS)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            _, reader = await stack.enter_async_context(gateway.open(play="stream", words=100, pause=0.02))
            await reader.readuntil(b"\n\n")
        await stop(gateway)
    assert (await figures(store))[1] == 0
