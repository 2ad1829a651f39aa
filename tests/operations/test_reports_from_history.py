"""Reports that reach back: what a store's journal has lost is in its history, and nothing is counted twice."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.periods import Period
from budget_middleware.history.connections import open_database
from budget_middleware.history.copying import Copier
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError, StoreUnavailable
from budget_middleware.operations.reports import Moments, Report, ReportQuery, make_report
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.history.histories import lose
from tests.ledger.faults import FaultyStore
from tests.operations.conftest import OpenContext
from tests.operations.report_story import BERLIN, Story, booked
from tests.stores.verbs import adjust, target

SINCE_EVER = Moments(since="2026-01-01")
CopyAll = Callable[[Store], "object"]


@pytest.fixture
def history_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/history.db"


@pytest.fixture
def context(open_context: OpenContext, history_url: str) -> OperatorContext:
    return open_context(timezone="Europe/Berlin", history_url=history_url)


async def copy(store: Store, context: OperatorContext) -> None:
    """As a gateway does, up to this moment."""
    database = open_database(context.settings.history_url)
    try:
        writer = HistoryWriter(database, context.settings.namespace, timezone=BERLIN)
        copier = Copier(store, writer, page=50)
        await copier.copy_all()
        await copier.give_up()
    finally:
        database.close()


async def report_of(
    context: OperatorContext, *by: str, per: str | None = None, moments: Moments = SINCE_EVER
) -> Report:
    return await make_report(context, ReportQuery(by, Period(per) if per else None, moments))


def without_source(report: Report) -> Report:
    return replace(report, source="")


@pytest.mark.parametrize("seed", range(2))
async def test_history_and_journal_say_what_the_journal_alone_does(
    context: OperatorContext, open_context: OpenContext, base: Store, clock: MovableClock, seed: int
):
    story = Story(base, clock, Random(seed))
    alone = open_context(timezone="Europe/Berlin")
    await story.play(30)
    refusal = LoggedRefusal(
        clock.now_ms, "f" * 32, ("team:x",), Rejection(target("team:x", "0"), Balance(5), 9), "haiku"
    )
    await base.log_refusals([refusal, replace(refusal, reservation_id="e" * 32, times=2)])
    await copy(base, context)
    for source in ("history", "history and the journal"):
        for by, per in ((["team", "model"], "day"), (["tag", "provider"], "hour"), (["user"], "month"), ([], None)):
            expected = await report_of(alone, *by, per=per)
            found = await report_of(context, *by, per=per)
            assert found.source == source
            assert without_source(found) == without_source(expected)
        await story.play(20)
        await base.log_refusals([replace(refusal, time_ms=clock.now_ms, reservation_id="d" * 32)])


async def test_what_the_journal_has_dropped_is_reported(context: OperatorContext, clock: MovableClock):
    store = MemoryStore(Retention(journal_max=1_000), clock_ms=clock)
    team = target("team:x", timezone=BERLIN)
    for number in range(3_000):
        clock.advance(s=1)
        await store.adjust(adjust(f"a{number}", "0.01", team))
        if number % 500 == 499:
            await copy(store, context)
    with_history = replace(context, store=store)
    report = await report_of(with_history, "team", per="month")
    assert [str(row.cost) for row in report.rows] == ["30.00"]
    assert report.missing == ()


async def test_a_gap_is_told_with_its_time(context: OperatorContext, clock: MovableClock):
    store = MemoryStore(Retention(journal_max=1_000), clock_ms=clock)
    team = target("team:x", timezone=BERLIN)
    await store.adjust(adjust("first", "1", team))
    await copy(store, context)
    for number in range(1_500):
        clock.advance(s=1)
        await store.adjust(adjust(f"a{number}", "0.01", team))
    await copy(store, context)
    report = await report_of(replace(context, store=store), "team")
    (gap,) = report.missing
    assert gap.count is not None
    assert str(report.total.cost) == usd_from_nanos(10**9 + (1_500 - gap.count) * 10**7)
    assert (gap.since, gap.what, gap.why) == (
        "2026-11-18T14:30:00.000+00:00",
        "bookings",
        "the store dropped them before they were copied: its BUDGET_JOURNAL_MAX was too small",
    )
    assert gap.until is not None
    later = await report_of(replace(context, store=store), moments=Moments(since="2026-11-19"))
    assert later.missing == (), "of another time than that which was asked for"


async def test_endings_that_workers_send_again_after_a_loss_count_once(
    context: OperatorContext, base: Store, clock: MovableClock
):
    team = target("team:x", timezone=BERLIN)
    await base.finalize(booked("r1", 7, team))
    await copy(base, context)
    await lose(base)
    await base.finalize(booked("r1", 7, team))
    await base.finalize(booked("r2", 5, team))
    # Whether the new store was copied or not.
    for _ in range(2):
        report = await report_of(context, "team")
        assert (str(report.total.cost), report.total.requests) == ("0.000000012", 2)
        await copy(base, context)


async def test_a_store_that_is_away_is_told_and_its_history_reported(
    context: OperatorContext, base: Store, faults: FaultyStore, clock: MovableClock
):
    await base.finalize(booked("r1", 7, target("team:x", timezone=BERLIN)))
    await copy(base, context)

    class Away(MemoryStore):
        async def head(self):  # type: ignore[no-untyped-def]
            raise StoreUnavailable("connection refused")

    report = await report_of(replace(context, store=Away(clock_ms=clock)), "team")
    assert str(report.total.cost) == "0.000000007"
    (missing,) = report.missing
    assert (missing.until, missing.why) == (None, "the store gives no answer (connection refused)")


async def test_a_history_that_cannot_be_read(context: OperatorContext):
    with pytest.raises(OperationError, match=r"BUDGET_HISTORY_URL=sqlite:///.*: there is no history in .*without it"):
        await report_of(context)
