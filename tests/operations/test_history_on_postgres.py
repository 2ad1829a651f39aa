"""Reports, exports and explanations from a history on a real Postgres say what those from SQLite do."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import duckdb
import pytest

from budget_middleware.core.periods import Period
from budget_middleware.databases.postgres.blocking import BlockingConnection
from budget_middleware.history.connections import open_database
from budget_middleware.history.copying import Copier
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations.account_explanation import explain_account
from budget_middleware.operations.audits import audit
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.exporting import export_history
from budget_middleware.operations.reaching_back import latest_entries_of_both
from budget_middleware.operations.reports import Moments, ReportQuery, make_report
from budget_middleware.operations.reservation_explanation import explain_reservation
from budget_middleware.settings_loading import load
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.databases.postgres_server import PostgresServer
from tests.operations.report_story import BERLIN, Story, booked, refusal_of
from tests.stores.verbs import target

SINCE_EVER = Moments("2026-01-01")
FIRST = "f1" * 16


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A database of its own."""
    name = f"history_{secrets.token_hex(4)}"
    admin = BlockingConnection(postgres.url(), timeout_s=30)
    admin.execute(f"create database {name}")
    yield postgres.url(name)
    admin.execute(f"drop database {name} with (force)")
    admin.close()


@pytest.fixture
async def contexts(clock: MovableClock, postgres_url: str, tmp_path: Path) -> AsyncIterator[list[OperatorContext]]:
    """Two operators of one store, of which SQLite and Postgres have a history each, and the journal the end only."""
    store = MemoryStore(Retention(journal_max=250), clock_ms=clock)
    made = [load(history_url=url, timezone="Europe/Berlin") for url in (f"sqlite:///{tmp_path}/h.db", postgres_url)]
    copiers = [
        Copier(store, HistoryWriter(open_database(each.history_url), each.namespace, timezone=BERLIN)) for each in made
    ]
    await store.finalize(booked(FIRST, 7, target("team:x", timezone=BERLIN), target("user:100%_p", timezone=BERLIN)))
    await store.log_refusals([refusal_of("team:x", clock.now_ms)])
    story = Story(store, clock, Random(7))
    for _ in range(12):
        await story.play(6)
        for copier in copiers:
            await copier.copy_all()
    await story.play(3)
    contexts = [OperatorContext(each, store, operators_ledger_of(each, store)) for each in made]
    yield contexts
    for context, copier in zip(contexts, copiers, strict=True):
        await context.ledger.drain()
        copier._writer.database.close()


async def test_reports_are_the_same(contexts: list[OperatorContext]):
    for by, per in ((("team", "model"), Period.DAY), (("tag", "provider"), Period.MONTH), ((), None)):
        of_sqlite, of_postgres = [await make_report(each, ReportQuery(by, per, SINCE_EVER)) for each in contexts]
        assert of_postgres == of_sqlite
        assert of_postgres.total.requests > 20
        assert of_postgres.missing == ()


async def test_exports_are_the_same(contexts: list[OperatorContext], tmp_path: Path):
    found = []
    for number, context in enumerate(contexts):
        exported = export_history(context.settings, tmp_path / f"out{number}", per=Period.MONTH, moments=SINCE_EVER)
        tables = []
        for table in ("bookings", "entries", "refusals"):
            # A generation is the same, what a copier names is not in these tables.
            files = f"read_parquet('{tmp_path}/out{number}/{table}/*/*.parquet', hive_partitioning = true)"
            tables.append(duckdb.connect().execute(f"select * from {files} order by all").fetchall())
        found.append((exported, tables))
    assert found[1] == found[0]
    assert all(found[0][1])


async def test_explanations_are_the_same(contexts: list[OperatorContext]):
    for account in ("team:x", "user:100%_p", "tag:a", "global"):
        of_sqlite, of_postgres = [await explain_account(each, account, include_past=True) for each in contexts]
        assert of_postgres == of_sqlite
        assert of_postgres is not None
        assert len(of_postgres.refusals) == (account == "team:x")
    first, same = [await explain_reservation(each, FIRST) for each in contexts]
    assert same == first
    assert first is not None
    assert first.booked.usd == 7
    pages = [await latest_entries_of_both(each, count=5_000) for each in contexts]
    assert pages[1] == pages[0]
    assert pages[0].entries[0].seq == 1
    audits = [await audit(each, with_history=True) for each in contexts]
    assert audits[1] == audits[0]
    assert audits[0].is_clean
    assert audits[0].proved_from_zero == audits[0].counters
