"""Workers that are killed, paused and replaced."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial

import pytest

from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.statuses import Op
from budget_middleware.stores.redis import RedisStore
from tests.faults.fixtures import Server
from tests.faults.gateway import USD, Gateway, Reply, actual_nanos, seen_nanos
from tests.faults.proxy import Fault, FaultProxy
from tests.faults.waiting import figures, until, until_figures

pytestmark = pytest.mark.processes

LEASE_MS = 1_000
A_SIXTY_CENT_ANSWER = {"words": 60_000}


@pytest.mark.proves("I7", "I8")
async def test_f03_a_killed_workers_streams_are_given_back_by_others(start_gateway, store: RedisStore):
    doomed = start_gateway(lease_s="3", limits="key=20/total", remember_s="60")
    survivor = start_gateway(lease_s="3", limits="key=20/total", remember_s="60")
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(doomed.open(play="stream", words=1_000, pause=0.05))
        assert len(await store.holds()) == 20
        doomed.process.send_signal(signal.SIGKILL)
        doomed.process.wait()
    assert (await survivor.ask(max_tokens=900_000)).error_code == "budget_held"

    async def nothing_reserved() -> bool:
        return (await figures(store))[1] == 0

    await until(nothing_reserved)
    assert (await survivor.ask(max_tokens=900_000)).status == 200
    assert await figures(store) == (actual_nanos(), 0)
    expired = [entry for entry in await store.latest(count=1_000) if entry.op is Op.EXPIRE]
    assert len({entry.reservation_id for entry in expired}) == 20


async def test_f18_three_workers_count_together(start_gateway, store: RedisStore):
    gateways = [start_gateway() for _ in range(3)]
    statuses = [(await gateways[turn % 3].ask(**A_SIXTY_CENT_ANSWER)).status for turn in range(6)]
    assert statuses == [200, 429, 429, 429, 429, 429]
    assert sum(len(gateway.served()) for gateway in gateways) == 1
    assert await figures(store) == (actual_nanos(**A_SIXTY_CENT_ANSWER), 0)


async def test_f13_a_credit_at_the_command_line_reaches_every_worker(start_gateway, server: Server, store: RedisStore):
    gateways = [start_gateway() for _ in range(2)]
    assert (await gateways[0].ask(**A_SIXTY_CENT_ANSWER)).status == 200
    assert {(await gateway.ask()).error_code for gateway in gateways} == {"budget_exhausted"}
    command = [sys.executable, "-m", "budget_middleware", "adjust", f"key:{key_id('sk-a')}", "-0.60", "--reason", "F13"]
    environment = {**os.environ, "BUDGET_STORE_URL": server.url, "BUDGET_LIMITS": "key=1/day"}
    operator = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
    assert await operator.wait() == 0
    assert {(await gateway.ask()).status for gateway in gateways} == {200}
    credit = 6 * USD // 10
    await until_figures(store, spent=actual_nanos(**A_SIXTY_CENT_ANSWER) - credit + 2 * actual_nanos())


async def test_f19_of_eight_at_once_on_two_workers_one_reaches_the_upstream(start_gateway, store: RedisStore):
    """They are also the first requests that these workers ever saw of this key."""
    gateways = [start_gateway() for _ in range(2)]
    # Long enough to be there until the other seven are refused.
    options = {"play": "stream", "words": 500, "pause": 0.01}
    replies = await asyncio.gather(*(gateways[number % 2].ask(**options) for number in range(8)))
    assert sorted(reply.status for reply in replies) == [200] + [429] * 7
    assert {reply.error_code for reply in replies if reply.status == 429} == {"budget_held"}
    assert sum(len(gateway.served()) for gateway in gateways) == 1
    await until_figures(store, spent=actual_nanos(words=500))


@pytest.mark.proves("I3", "I4")
async def test_a_worker_paused_for_two_leases_finalizes_late(start_gateway, store: RedisStore):
    # Whatever the machine is busy with, the store is to decide the first reserve.
    settings = {"lease_s": str(LEASE_MS // 1000), "remember_s": "60", "store_timeout_s": "10"}
    paused, other = start_gateway(**settings), start_gateway(**settings)
    async with paused.open(play="stream", words=40, pause=0.02) as (_, reader):
        await reader.readuntil(b"\n\n")
        assert await store.holds()
        paused.process.send_signal(signal.SIGSTOP)
        # Some request wakes the other worker's sweep.
        assert (await other.ask(max_tokens=10)).status == 200

        since_ms = (await store.head()).now_ms

        async def two_leases_are_over() -> bool:
            return (await store.head()).now_ms >= since_ms + 2 * LEASE_MS and (await figures(store))[1] == 0

        await until(two_leases_are_over)
        assert not await store.holds()
        paused.process.send_signal(signal.SIGCONT)
        assert (await reader.read()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    # The store may be asked more than once: the worker wakes up with a connection that was silent for long.
    await until_figures(store, spent=actual_nanos() + actual_nanos(words=40))
    assert [entry.status for entry in await store.latest(count=1)] == ["finalized_late"]


async def test_a_rolling_restart_under_load_loses_nothing(start_gateway, store: RedisStore):
    settings = {"limits": "key=1000/day", "store_timeout_s": "10"}
    gateways = [start_gateway(**settings) for _ in range(2)]
    retired: list[Gateway] = []
    answers: list[Reply] = []

    async def load() -> None:
        while len(answers) < 600:
            gateway = gateways[len(answers) % 2]
            try:
                answers.append(await gateway.ask(play="stream", words=20, pause=0.002))
            except (OSError, asyncio.IncompleteReadError):
                continue  # It is on its way out; a client's balancer tries the next one.

    async with asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(load())
        for place in range(2):
            await until(partial(_reached, answers, 150 * (place + 1)))
            old = gateways[place]
            gateways[place] = await asyncio.to_thread(start_gateway, **settings)
            old.process.send_signal(signal.SIGTERM)
            retired.append(old)

    for gateway in retired:
        await asyncio.to_thread(gateway.process.wait, 30)
        assert gateway.process.returncode in (0, -signal.SIGTERM)
    served = [record for gateway in (*retired, *gateways) for record in gateway.served()]
    owed = sum(
        actual_nanos(words=20) if record["complete"] else seen_nanos(chunks=record["chunks"]) * (record["chunks"] > 0)
        for record in served
    )
    assert await figures(store) == (owed, 0)


async def test_a_shutdown_waits_for_the_store_as_long_as_the_setting_says(
    start_gateway, proxy: FaultProxy, store: RedisStore
):
    settings = {"store_timeout_s": "0.2", "limits": "key=100/day"}
    patient, hasty = start_gateway(**settings, drain_timeout_s="300"), start_gateway(**settings, drain_timeout_s="0.5")
    proxy.always("finalize", Fault.SWALLOW)
    for gateway in (patient, hasty):
        assert (await gateway.ask()).status == 200
        gateway.process.send_signal(signal.SIGTERM)
    # It ends although the store gives no answer, and says what it could not book.
    assert await asyncio.to_thread(hasty.process.wait, 60) in (0, -signal.SIGTERM)
    assert "not booked by this process" in hasty.log.read_text()
    assert patient.process.poll() is None
    proxy.always("finalize", None)
    assert await asyncio.to_thread(patient.process.wait, 60) in (0, -signal.SIGTERM)
    assert (await figures(store))[0] == actual_nanos()
    assert len(await store.holds()) == 1, "what the hasty one could not book comes back with its lease"


async def _reached(answers: list, count: int) -> bool:
    return len(answers) >= count


async def test_a_refused_budget_never_reaches_the_app(start_gateway, store: RedisStore):
    gateway = start_gateway()
    assert (await gateway.ask(max_tokens=100_001)).error_code == "budget_exhausted"
    assert gateway.served() == []
    assert await figures(store) == (0, 0)
    assert (await gateway.ask()).headers["x-budget-estimate-usd"].startswith("0.60")
    assert (await figures(store))[0] < USD
