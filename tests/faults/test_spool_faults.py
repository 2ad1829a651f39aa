"""Endings owed by a process that is killed while the store is away."""

import asyncio
import signal
from pathlib import Path

import pytest

from budget_middleware.stores.redis import RedisStore
from tests.faults.gateway import actual_nanos
from tests.faults.proxy import FaultProxy
from tests.faults.waiting import until, until_figures

pytestmark = pytest.mark.processes


async def _owed_on_disk(folder: Path, count: int) -> None:
    async def written() -> bool:
        return sum('"finalize"' in line for line in _lines(folder)) == count

    await until(written)


def _lines(folder: Path) -> list[str]:
    return [line for path in folder.glob("*.owed") for line in path.read_text().splitlines()]


async def test_a_killed_workers_endings_are_booked_by_another(
    start_gateway, proxy: FaultProxy, store: RedisStore, tmp_path: Path
):
    settings = {"spool_path": str(tmp_path / "spool"), "store_timeout_s": "0.2", "lease_s": "3", "remember_s": "60"}
    doomed = start_gateway(**settings)
    proxy.cut()
    replies = await asyncio.gather(*(doomed.ask(key=f"k{n}") for n in range(10)))
    assert {reply.status for reply in replies} == {200}
    await _owed_on_disk(tmp_path / "spool", 10)
    doomed.process.send_signal(signal.SIGKILL)
    doomed.process.wait()
    proxy.mend()
    start_gateway(**settings)
    await until_figures(store, spent=10 * actual_nanos())


async def test_a_stopped_worker_leaves_what_it_could_not_book(
    start_gateway, proxy: FaultProxy, store: RedisStore, tmp_path: Path
):
    settings = {
        "spool_path": str(tmp_path / "spool"),
        "store_timeout_s": "0.2",
        "lease_s": "3",
        "remember_s": "60",
        "drain_timeout_s": "0.5",
    }
    stopped = start_gateway(**settings)
    neighbour = start_gateway(**settings)
    proxy.cut()
    assert (await stopped.ask()).status == 200
    await _owed_on_disk(tmp_path / "spool", 1)
    stopped.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(stopped.process.wait, 30)
    proxy.mend()
    assert (await neighbour.ask(key="b")).status == 200
    await until_figures(store, spent=2 * actual_nanos())


async def test_a_dead_store_does_not_add_its_time_out_to_every_request(start_gateway, proxy: FaultProxy):
    gateway = start_gateway(store_timeout_s="2")
    proxy.cut()
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(20):
        assert (await gateway.ask(key=f"k{number}")).status == 200
    # Asked by each of them, reserve and finalize, it would have been 80 s.
    assert loop.time() - started < 25
