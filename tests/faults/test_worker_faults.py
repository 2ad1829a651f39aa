"""Workers that are killed, paused and replaced."""

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial

import pytest

from budget_middleware.core.model import Op
from budget_middleware.stores.redis import RedisStore
from tests.faults.gateway import USD, Gateway, Reply, actual_nanos, seen_nanos
from tests.faults.waiting import figures, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]


async def test_f03_a_killed_workers_streams_are_given_back_by_others(start_gateway, store: RedisStore):
    doomed = start_gateway(lease_s="3", limits="key=20/day", remember_s="60")
    survivor = start_gateway(lease_s="3", limits="key=20/day", remember_s="60")
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


async def test_a_worker_paused_for_two_leases_finalizes_late(start_gateway, store: RedisStore):
    paused = start_gateway(lease_s="1", remember_s="60")
    other = start_gateway(lease_s="1", remember_s="60")
    async with paused.open(play="stream", words=40, pause=0.02) as (_, reader):
        await reader.readuntil(b"\n\n")
        paused.process.send_signal(signal.SIGSTOP)
        # Some request wakes the other worker's sweep.
        assert (await other.ask(max_tokens=10)).status == 200

        async def expired() -> bool:
            return not await store.holds() and (await figures(store))[1] == 0

        await until(expired)
        paused.process.send_signal(signal.SIGCONT)
        assert (await reader.read()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert await figures(store) == (actual_nanos() + actual_nanos(words=40), 0)
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


async def _reached(answers: list, count: int) -> bool:
    return len(answers) >= count


async def test_a_refused_budget_never_reaches_the_app(start_gateway, store: RedisStore):
    gateway = start_gateway()
    assert (await gateway.ask(max_tokens=100_001)).error_code == "budget_exhausted"
    assert gateway.served() == []
    assert await figures(store) == (0, 0)
    assert (await gateway.ask()).headers["x-budget-estimate-usd"].startswith("0.60")
    assert (await figures(store))[0] < USD
