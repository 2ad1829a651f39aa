"""A ledger moves from one real server to another under the load of three processes, and the command is killed often."""

import asyncio
import json
import os
import random
from collections import Counter as Tally
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from budget_middleware.stores.redis import RedisStore
from tests.e2e.forking import ForkedWorker
from tests.e2e.servers import UnixValkey
from tests.stores.audit import audit_report

pytestmark = pytest.mark.processes

WORKERS = ("a", "b", "c")
REQUESTS_BETWEEN = 60
"""So much goes on before the next worker is moved."""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[str, str]]:
    folders = [tmp_path / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    with UnixValkey(folders[0]) as old, UnixValkey(folders[1]) as new:
        yield old.url, new.url


@pytest.mark.proves("I4", "I8", "I10")
async def test_three_workers_move_and_every_counter_arrives(servers: tuple[str, str], tmp_path: Path):
    env = {
        **os.environ,
        "OLD_URL": servers[0],
        "NEW_URL": servers[1],
        "BUDGET_LIMITS": "key=100/day; key=9inflight; key=1000000tokens/24h; team=100/24h; team=1000000requests/month",
        # Less than the load has: what is not read in time shows in the counters.
        "BUDGET_JOURNAL_MAX": "2000",
        "BUDGET_STORE_TIMEOUT_S": "30",
    }
    old, new = (RedisStore(url, namespace="budget", timeout_s=30) for url in servers)
    workers = [
        ForkedWorker([str(tmp_path), name], env=env, log=tmp_path / f"{name}.log", module="tests.e2e.moved_worker")
        for name in WORKERS
    ]
    await _worked(old)
    cut_off = asyncio.create_task(_migrate_and_kill(servers, env, tmp_path))
    async with asyncio.timeout(120):
        while not await new.notes():
            await asyncio.sleep(0.05)
    for name in WORKERS:
        await _worked(old, new)
        (tmp_path / f"moved-{name}").touch()
    await _worked(new)
    (tmp_path / "over").touch()
    for worker in workers:
        assert await asyncio.to_thread(worker.wait, 60) == 0
    cut_off.cancel()
    await asyncio.gather(cut_off, return_exceptions=True)

    last = _migration(servers, env, tmp_path / "last")
    assert await asyncio.to_thread(last.wait, 60) == 0, (tmp_path / "last").read_text()
    booked: list[Tally[str]] = [Tally(), Tally()]
    for name in WORKERS:
        for tally, accounts in zip(booked, json.loads((tmp_path / f"{name}.json").read_text()).values(), strict=True):
            tally.update(accounts)
    assert await _spent(old) == booked[0]
    assert await _spent(new) == booked[0] + booked[1]
    for store in (old, new):
        assert {view.balance.reserved for view in await store.counters()} == {0}
        assert (await audit_report(store)).drift == ()
        assert list(await store.damage()) == []
        await store.aclose()


def _migration(servers: tuple[str, str], env: dict[str, str], told: Path) -> ForkedWorker:
    """The command; what it tells of its progress goes to a file."""
    words = ("migrate", *servers, "--until-quiet", "1", "--json")
    out = told.with_suffix(".json")
    told.touch()
    return ForkedWorker(words, env=env, log=out, errors=told, module="budget_middleware")


async def _migrate_and_kill(servers: tuple[str, str], env: dict[str, str], folder: Path) -> None:
    """Again and again, a moment after it has begun to copy, or to follow."""
    chance = random.Random("cut off")
    for number in count():
        told = folder / f"migration-{number}"
        migration = _migration(servers, env, told)
        try:
            lines = chance.choice((1, 2))
            while migration.poll() is None and told.read_text().count("\n") < lines:
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.random())
        finally:
            migration.kill()
            await asyncio.to_thread(migration.wait, 60)


async def _worked(*stores: RedisStore) -> None:
    """Until so many requests more have gone through any of these stores."""
    until = REQUESTS_BETWEEN * 8 + sum([(await store.head()).seq for store in stores])
    async with asyncio.timeout(120):
        while sum([(await store.head()).seq for store in stores]) < until:
            await asyncio.sleep(0.05)


async def _spent(store: RedisStore) -> "Tally[str]":
    """In USD, by account; each of its periods shows the same."""
    spent: dict[str, Tally[str]] = {}
    for view in await store.counters():
        if view.counter.unit == "usd":
            spent.setdefault(view.counter.period, Tally())[view.counter.account] += view.balance.spent
    assert spent.keys() == {"day", "24h"}
    return spent["day"] + spent["24h"]
