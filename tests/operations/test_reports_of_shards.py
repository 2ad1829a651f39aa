"""Reports of a ledger with shards: a reservation in parts is one request, and costs once."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from budget_middleware.history.connections import open_database
from budget_middleware.history.copying import Copier
from budget_middleware.history.ledgers import ledger_of
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.reports import Moments, ReportQuery, make_report
from budget_middleware.settings_loading import load
from budget_middleware.stores.journals import journals_of
from budget_middleware.stores.sharded.memory_shard import MemoryShard
from budget_middleware.stores.sharded.shard_map import ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from budget_middleware.testing import MovableClock
from tests.operations.report_story import booked
from tests.stores.verbs import UTC, adjust, reserve, target

SEARCH, ADS, KEY, GLOBAL = target("team:search"), target("team:ads"), target("key:00000000000000aa"), target("global")


@pytest.fixture
async def context(clock: MovableClock, tmp_path: Path) -> AsyncIterator[OperatorContext]:
    """Two requests of one key for two teams, which are on two shards, one that expires, and what an operator books."""
    shards: dict[str, MemoryShard] = {}
    store = ShardedStore(ShardMap("team", 4), lambda name: shards.setdefault(name, MemoryShard(clock_ms=clock)))
    settings = load(shard_by="team/4", history_url=f"sqlite:///{tmp_path}/history.db")
    for id_, team, nanos in (("r1", SEARCH, 7), ("r2", ADS, 5)):
        await store.reserve(reserve(id_, "0.40", GLOBAL, KEY, team))
        await store.finalize(booked(id_, nanos, GLOBAL, KEY, team))
    await store.reserve(reserve("r3", "0.40", GLOBAL, SEARCH, charge="0.000000003"))
    clock.advance(s=100)
    await store.sweep(at_most=10)
    await store.adjust(adjust("a1", "0.00000001", GLOBAL))
    context = OperatorContext(settings, store, operators_ledger_of(settings, store))
    yield context
    await context.ledger.drain()


async def copy(context: OperatorContext) -> None:
    for name, journal in (await journals_of(context.store)).items():
        database = open_database(context.settings.history_url)
        await Copier(
            journal, HistoryWriter(database, ledger_of(context.settings.namespace, name), timezone=UTC)
        ).copy_all()
        database.close()


@pytest.mark.parametrize("is_copied", [False, True], ids=["of the journals", "of the history"])
async def test_a_reservation_in_parts_counts_once(context: OperatorContext, is_copied: bool):
    if is_copied:
        await copy(context)
    else:
        context = replace(context, settings=load(shard_by="team/4"))

    async def costs(*by: str) -> dict[str | None, tuple[int, int]]:
        report = await make_report(context, ReportQuery(by, None, Moments("2026-01-01")))
        assert report.source == ("history" if is_copied else "journal")
        assert (report.total.requests, report.total.cost_nanos) == (2, 7 + 5 + 3 + 10)
        return {row.by[by[0]]: (row.requests, row.cost_nanos) for row in report.rows}

    assert await costs("team") == {"team:search": (1, 10), "team:ads": (1, 5), None: (0, 10)}
    assert await costs("model") == {"gpt-4o": (2, 12), None: (0, 13)}
    assert (await costs("global"))["global"] == (2, 25), "as its counter shows"
    assert (await costs("key"))["key:00000000000000aa"] == (2, 12)
