"""What a migration and a restore book has its spans, as any change of a counter has."""

import asyncio
from pathlib import Path

import pytest

from budget_middleware.operations.migrating import Migration, migrate
from budget_middleware.operations.migrating import migration as moving
from budget_middleware.operations.restores import restore
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from budget_middleware.testing import MovableClock
from tests.history.histories import Histories
from tests.history.test_restoring import context_of
from tests.history.traffic import Traffic
from tests.ledger.conftest import nanos
from tests.operations.test_migrating import used
from tests.stores.clocked import put_on
from tests.stores.verbs import finalize, grow, reserve, target
from tests.telemetry.conftest import Spans
from tests.telemetry.proof import prove


@pytest.mark.proves("I9")
async def test_a_migration(tmp_path: Path, spans: Spans, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(moving, "ROUND_S", 0.005)
    put_on(MovableClock(), monkeypatch)
    old_url, new_url = f"sqlite:///{tmp_path}/old.db", f"sqlite:///{tmp_path}/new.db"
    old, new = SqliteStore(old_url, timeout_s=10), SqliteStore(new_url, timeout_s=10)
    now_ms = (await old.head()).now_ms
    await used(old, now_ms)
    await old.reserve(reserve("pending", "0.10", target(at_ms=now_ms)))
    moved = asyncio.create_task(migrate(Migration(old_url, new_url, quiet_s=0.02)))
    while not await new.holds():
        await asyncio.sleep(0)
    await old.grow(grow("pending", "0.20"))
    while (await new.holds())[0].held.usd != nanos("0.20"):
        await asyncio.sleep(0)
    await old.finalize(finalize("pending", "0.15", target(at_ms=now_ms)))
    assert (await moved).is_equal
    written = {entry.op for entry in await prove(new, spans())}
    assert written >= {"adjust", "reserve", "grow"}
    for store in (old, new):
        await store.aclose()


@pytest.mark.proves("I9")
async def test_a_restore(tmp_path: Path, spans: Spans):
    clock, histories = MovableClock(), Histories(f"sqlite:///{tmp_path}/history.db")
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=1)
    copier = histories.copier(store)
    await traffic.play(store, 60)
    await copier.copy_all()
    lost = MemoryStore(clock_ms=clock)
    assert (await restore(context_of(lost, histories))).counters
    assert {entry.op for entry in await prove(lost, spans())} == {"adjust", "finalize"}
    histories.close()
