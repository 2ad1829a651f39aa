"""A server that forgets everything, and a history that knows: restored while workers serve, to the nano-dollar."""

import asyncio
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from redis.asyncio import Redis

from budget_middleware.core.windows import Period
from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.restores import restore
from budget_middleware.settings_loading import load
from budget_middleware.stores.redis import RedisStore
from tests.faults.fixtures import Server
from tests.faults.gateway import Gateway, actual_nanos
from tests.faults.waiting import until, until_figures
from tests.stores.audit import audit_report

pytestmark = pytest.mark.processes


async def requests(gateway: Gateway, *, until_set: asyncio.Event, n_served: list[int]) -> None:
    """One after another, until the test has seen enough."""
    while not until_set.is_set():
        reply = await gateway.ask()
        assert reply.status == 200
        n_served[0] += 1


async def test_restored_while_workers_serve(start_gateway, server: Server, store: RedisStore, tmp_path: Path):
    """One worker has gone before the loss, so that nobody sends its endings again; two others serve all the time."""
    history = f"sqlite:///{tmp_path}/history.db"
    loaded = load(store_url=server.url, history_url=history)
    context = OperatorContext(loaded, store, operators_ledger_of(loaded, store))
    settings = {"limits": "key=100/day; global=1000/total", "history_url": history, "accounts": "key=token"}
    gone = start_gateway(**settings)
    n_served = [0]
    for _ in range(10):
        assert (await gone.ask()).status == 200
        n_served[0] += 1
    gone.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(gone.process.wait, 30)
    await store.set_limit("team:search", period=Period.MONTH, limit_nanos=5_000)
    workers, enough = [start_gateway(**settings) for _ in range(2)], asyncio.Event()
    tasks = [asyncio.create_task(requests(each, until_set=enough, n_served=n_served)) for each in workers]
    try:
        await until(lambda: _has_copied(tmp_path / "history.db", n_endings=15))
        seen = n_served[0]
        async with Redis(unix_socket_path=str(server.socket)) as admin:
            await admin.flushall()
        await until(lambda: _has_served(n_served, seen + 10))
        done = await restore(context, is_live=True)
        await until(lambda: _has_served(n_served, seen + 20))
    finally:
        enough.set()
        await asyncio.gather(*tasks)
    await until_figures(store, spent=2 * n_served[0] * actual_nanos())
    assert done.counters
    assert (await store.limits()).limits == {("team:search", Period.MONTH): 5_000}
    assert (await audit_report(store)).drift == ()
    await restore(context, is_live=True)
    await until_figures(store, spent=2 * n_served[0] * actual_nanos())


async def _has_copied(path: Path, *, n_endings: int) -> bool:
    """What was served before the loss, but for the last: the workers send the endings of the last minutes again."""
    with closing(sqlite3.connect(path)) as connection:
        ((n_copied,),) = connection.execute("select count(distinct reservation_id) from entries where op = 'finalize'")
        ((n_limits,),) = connection.execute("select count(*) from limit_changes")
    return bool(n_copied >= n_endings and n_limits)


async def _has_served(n_served: list[int], least: int) -> bool:
    return n_served[0] >= least
