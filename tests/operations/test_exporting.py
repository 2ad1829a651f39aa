"""The export, read by the real DuckDB: every row once, and money to the nano-dollar."""

import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from budget_middleware.core.periods import Period
from budget_middleware.history.connections import open_database
from budget_middleware.history.copying import Copier
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.exporting import Exported, export_history, parquet_files
from budget_middleware.operations.reports import Moments, ReportQuery, make_report
from budget_middleware.settings_loading import load
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock
from tests.operations.report_story import BERLIN, Story, refusal_of
from tests.stores.verbs import whole_journal

Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def base(clock: MovableClock) -> Store:
    """What is exported is the history: any store will do."""
    return MemoryStore(clock_ms=clock)


@pytest.fixture
async def context(base: Store, clock: MovableClock, tmp_path: Path) -> AsyncIterator[OperatorContext]:
    """Of a ledger that was at work from November on, and all of it in the history."""
    settings = load(timezone="Europe/Berlin", history_url=f"sqlite:///{tmp_path}/history.db")
    await Story(base, clock, Random(5)).play(120)
    await base.log_refusals([refusal_of("team:x", clock.now_ms)])
    database = open_database(settings.history_url)
    await Copier(base, HistoryWriter(database, settings.namespace, timezone=BERLIN), page=50).copy_all()
    database.close()
    context = OperatorContext(settings, base, operators_ledger_of(settings, base))
    yield context
    await context.ledger.drain()


@pytest.fixture
def query(tmp_path: Path) -> Query:
    """DuckDB over an export; a query names its tables in braces."""
    connection = duckdb.connect()
    # The zone of the session decides how times are shown, and the machine's is none of ours.
    connection.execute("set timezone = 'Europe/Berlin'")

    def run(sql: str) -> list[tuple[Any, ...]]:
        files = {
            table: f"read_parquet('{tmp_path}/out/{table}/*/*.parquet', hive_partitioning = true)"
            for table in ("bookings", "entries", "refusals")
        }
        return connection.execute(sql.format_map(files)).fetchall()

    return run


def export(context: OperatorContext, tmp_path: Path, *, per: Period = Period.MONTH, **moments: str) -> list[Exported]:
    return export_history(context.settings, tmp_path / "out", per=per, moments=Moments(**moments))


def files_in(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.glob("out/**/*") if path.is_file()]


async def test_duckdb_sums_what_a_report_does(context: OperatorContext, base: Store, tmp_path: Path, query: Query):
    exported = export(context, tmp_path)
    assert [each.table for each in exported] == ["bookings", "entries", "refusals"]
    report = await make_report(context, ReportQuery(("team",), Period.DAY, Moments("2026-01-01")))
    found = query(
        "select strftime(booked, '%Y-%m-%d'),"
        " list_filter(accounts, lambda each: starts_with(each, 'team:'))[1] as team,"
        " sum(cost_nanos), sum(requests) from {bookings} where kind <> 'repaired' group by all"
    )
    assert {(day, team): (nanos, requests) for day, team, nanos, requests in found} == {
        (row.window, row.by["team"]): (row.cost_nanos, row.requests) for row in report.rows if row.bookings
    }
    ((nanos, output),) = query("select sum(cost_nanos), sum(n_output) from {bookings}")
    assert (nanos, output) == (report.total.cost_nanos, report.total.counts["output"])


async def test_the_query_of_the_page(context: OperatorContext, tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text("utf-8")
    (sql,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    export(context, tmp_path)
    rows = duckdb.connect().execute(sql.replace("DIR", str(tmp_path / "out"))).fetchall()
    report = await make_report(context, ReportQuery(("model",), Period.MONTH, Moments("2026-01-01")))
    assert {(month, model or None): (requests, output or 0) for month, model, requests, output, _ in rows} == {
        (row.window, row.by["model"]): (row.requests, row.counts.get("output", 0))
        for row in report.rows
        if row.bookings
    }


async def test_entries_are_all_there(context: OperatorContext, base: Store, tmp_path: Path, query: Query):
    export(context, tmp_path)
    journal = await whole_journal(base)
    found = query("select seq, account, spent_delta, reserved, status, epoch_ms(time) from {entries} order by seq")
    assert found == [
        (entry.seq, entry.counter.account, entry.spent_delta, entry.reserved, str(entry.status), entry.time_ms)
        for entry in journal
    ]
    assert query("select accounts, is_enforced, times, month from {refusals}") == [(["team:x"], True, 3, "2026-12")]


async def test_the_same_export_again_changes_nothing(context: OperatorContext, tmp_path: Path, query: Query):
    once = export(context, tmp_path, per=Period.DAY)
    ((n_rows,),) = query("select count(*) from {bookings}")
    assert once[0].rows == n_rows
    assert once[0].files > 10
    # Of a day that is begun in its middle the whole is written.
    ((last_of_a_day,),) = query(
        "select strftime(max(booked), '%Y-%m-%dT%H:%M:%S') from {bookings} group by day order by count(*) desc limit 1"
    )
    again = export(context, tmp_path, per=Period.DAY, since=last_of_a_day)
    assert 0 < again[0].files < once[0].files
    assert query("select count(*) from {bookings}") == [(n_rows,)]
    days = sorted(path.parent.name for path in files_in(tmp_path))
    assert days[0].startswith("day=2026-11-1")
    assert {path.name for path in files_in(tmp_path)} == {"part-0.parquet"}, "nothing unfinished is left"


async def test_portions_are_joined(
    context: OperatorContext, tmp_path: Path, query: Query, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parquet_files, "PORTION", 7)
    exported = export(context, tmp_path)
    assert query("select count(*), count(distinct (seq, part)) from {bookings}") == [(exported[0].rows,) * 2]


async def test_a_disk_without_room_leaves_no_half_file(
    context: OperatorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet_files.PartWriter, "finish", full)
    with pytest.raises(OperationError, match=r"out: No space left on device; what was written before is whole"):
        export(context, tmp_path)
    assert files_in(tmp_path) == []


async def test_without_a_history_or_pyarrow(context: OperatorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(OperationError, match=r"set BUDGET_HISTORY_URL"):
        export_history(load(), tmp_path, per=Period.MONTH, moments=Moments())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OperationError, match=r"pip install 'budget-middleware\[parquet\]'"):
        export(context, tmp_path)
