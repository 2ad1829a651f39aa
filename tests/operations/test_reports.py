"""Reports: each booking once, in the windows that it was booked in, so that their sums are what the counters show."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest

from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection
from budget_middleware.core.money import nanos_from_usd, usd_from_nanos
from budget_middleware.core.payers.accounts import kind_of
from budget_middleware.core.periods import Period
from budget_middleware.core.verbs import Repair
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.reports import Moments, Report, ReportQuery, ReportRow, make_report
from budget_middleware.operations.values import as_json
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.operations.conftest import OpenContext
from tests.operations.report_story import Story, booked
from tests.stores.verbs import HOUR_MS, adjust, reserve, target

SINCE_EVER = Moments(since="2026-01-01")


async def report_of(context: OperatorContext, *by: str, per: str | None = None, **moments: str) -> Report:
    query = ReportQuery(by, Period(per) if per else None, Moments(**moments) if moments else SINCE_EVER)
    return await make_report(context, query)


def by_values(report: Report) -> list[tuple[tuple[str | None, ...], ReportRow]]:
    return [(tuple(row.by.values()), row) for row in report.rows]


async def spent(store: Store, kind: str, period: Period) -> Mapping[tuple[str, str], str]:
    """By window and account, without counters that show 0."""
    return {
        (view.counter.window, view.counter.account): usd_from_nanos(view.balance.spent)
        for view in await store.counters()
        if kind_of(view.counter.account) == kind and view.counter.period is period and view.balance.spent
    }


@pytest.mark.parametrize("seed", range(3))
async def test_sums_of_a_report_are_what_the_counters_show(
    open_context: OpenContext, base: Store, clock: MovableClock, seed: int
):
    await Story(base, clock, Random(seed)).play(60)
    context = open_context(timezone="Europe/Berlin")
    kinds = {kind_of(view.counter.account) for view in await base.counters()}
    assert kinds == {"global", "team", "user", "tag", "org"}
    for kind in kinds:
        for period in (Period.HOUR, Period.DAY, Period.MONTH) if kind != "org" else (Period.MONTH,):
            report = await report_of(context, kind, per=period)
            shown = {
                (row.window, row.by[kind]): str(row.cost)
                for row in report.rows
                if row.by[kind] is not None and row.cost_nanos
            }
            assert shown == await spent(base, kind, period), (kind, period)
            assert (report.missing, report.unknown, report.omitted_lines) == ((), (), 0)


@pytest.mark.parametrize("seed", range(2))
async def test_the_total_has_each_request_once(base: Store, open_context: OpenContext, clock: MovableClock, seed: int):
    await Story(base, clock, Random(seed)).play(60)
    context = open_context(timezone="Europe/Berlin")
    whole = (await report_of(context)).total
    for by in (["model"], ["provider", "user"], ["team", "model"]):
        report = await report_of(context, *by, per="day")
        assert report.total == whole
        # Nobody has two of these, so that rows add up to the total.
        assert sum(row.cost_nanos for row in report.rows) == whole.cost_nanos
        assert sum(row.requests for row in report.rows) == whole.requests
        counts: defaultdict[str, int] = defaultdict(int)
        for row in report.rows:
            for each, count in row.counts.items():
                counts[each] += count
        assert counts == whole.counts
    tags = await report_of(context, "tag")
    assert tags.total == whole
    assert sum(row.requests for row in tags.rows) > whole.requests, "a request with two tags is in two rows"
    entries = await base.latest(count=10_000)
    ended = {entry.reservation_id for entry in entries if entry.status.startswith("finalized") and entry.spent_delta}
    assert whole.requests >= len(ended)


async def test_a_request_of_the_old_day_stays_there(base: Store, open_context: OpenContext, clock: MovableClock):
    clock.advance(ms=24 * HOUR_MS - clock.now_ms % (24 * HOUR_MS) - 1_000)
    day = target("team:x", period=Period.DAY, at_ms=clock.now_ms)
    await base.reserve(reserve("r", "0.60", day))
    clock.advance(s=10)
    await base.finalize(booked("r", 7, day))
    (row,) = (await report_of(open_context(), "team", per="day")).rows
    assert (row.window, str(row.cost)) == (day.window.id, "0.000000007")


async def test_what_a_row_says(base: Store, open_context: OpenContext):
    team, user = target("team:x"), target("user:p")
    for id_, model, nanos in [("r1", "gpt-4o", 5), ("r2", "gpt-4o", 6), ("r3", "haiku", 100)]:
        await base.reserve(reserve(id_, "0.01", team, user))
        await base.finalize(booked(id_, nanos, team, user, model=model))
    await base.adjust(adjust("a", "-0.00000001", team))
    limited = replace(team, limit=5)
    refusal = LoggedRefusal(
        (await base.head()).now_ms, "r4", ("team:x",), Rejection(limited, Balance(5), 9), "haiku", times=2
    )
    await base.log_refusals([refusal, replace(refusal, is_enforced=False)])
    report = await report_of(open_context(), "team", "model")
    assert [as_json(row) for row in report.rows] == [
        {
            "by": {"team": "team:x", "model": "haiku"},
            "requests": 1,
            "refusals": 2,
            "counts": {"output": 3},
            "cost_usd": "0.0000001",
            "bookings": {"finalized": {"count": 1, "cost_usd": "0.0000001"}},
        },
        {
            "by": {"team": "team:x", "model": "gpt-4o"},
            "requests": 2,
            "refusals": 0,
            "counts": {"output": 6},
            "cost_usd": "0.000000011",
            "bookings": {"finalized": {"count": 2, "cost_usd": "0.000000011"}},
        },
        {
            "by": {"team": "team:x", "model": None},
            "requests": 0,
            "refusals": 0,
            "counts": {},
            "cost_usd": "-0.00000001",
            "bookings": {"adjusted": {"count": 1, "cost_usd": "-0.00000001"}},
        },
    ]
    of_users = dict(by_values(await report_of(open_context(), "user")))
    assert str(of_users["user:p",].cost) == "0.000000111"
    assert str(of_users[(None,)].cost) == "-0.00000001", "what was booked by hand on a team is no user's"


async def test_a_repair_is_named_and_is_no_cost(base: Store, open_context: OpenContext):
    team = target("team:x")
    await base.finalize(booked("r", 7, team))
    await base.repair(Repair("p", team, 5, found_at_seq=(await base.head()).seq))
    (row,) = (await report_of(open_context(), "team")).rows
    assert str(row.cost) == "0.000000007", "what the journal had booked before"
    assert as_json(row.bookings)["repaired"] == {"count": 1, "cost_usd": "0.000000005"}


async def test_accounts_within_compounds_are_reported_too(base: Store, open_context: OpenContext):
    both = target("key+team:k+x")
    await base.reserve(reserve("r", "0.60", both))
    await base.finalize(booked("r", 7, both))
    await base.adjust(adjust("a", "0.00000001", both))
    rows = dict(by_values(await report_of(open_context(), "team")))
    assert str(rows["team:x",].cost) == "0.000000007"
    assert str(rows[(None,)].cost) == "0.00000001", "by hand it was booked on the compound alone"
    compound = dict(by_values(await report_of(open_context(), "key+team")))
    assert str(compound["key+team:k+x",].cost) == "0.000000017"


async def test_a_kind_that_nobody_has_is_named(base: Store, open_context: OpenContext):
    await base.finalize(booked("r", 7, target("team:x")))
    report = await report_of(open_context(), "teem", "model")
    assert report.unknown == ("teem",)


async def test_what_the_journal_has_lost_is_told(open_context: OpenContext, clock: MovableClock):
    store = MemoryStore(Retention(journal_max=1_000), clock_ms=clock)
    team = target("team:x")
    for number in range(1_500):
        clock.advance(s=1)
        await store.adjust(adjust(f"a{number}", "0.01", team))
    context = replace(open_context(), store=store)
    report = await report_of(context, "team")
    (lost,) = report.missing
    (row,) = report.rows
    assert (lost.since, lost.what) == (None, "bookings")
    assert lost.count is not None
    assert nanos_from_usd(str(row.cost)) == (1_500 - lost.count) * 10**7
    assert lost.until is not None
    since = await report_of(context, "team", since=lost.until)
    assert len(since.missing) == 1, "some of those may have been in this very moment"


@pytest.mark.parametrize(
    "moments", [{"since": "yesterday"}, {"since": "2026-11-02", "until": "2026-11-01"}, {"since": "2026-13"}]
)
async def test_what_is_no_time(open_context: OpenContext, moments: dict[str, str]):
    with pytest.raises(OperationError, match=r"accepted are 2026-11|nothing is since"):
        await report_of(open_context(), **moments)


@pytest.mark.parametrize(
    ("since", "until", "first", "last"),
    [
        ("2026-11", "2026-11", "2026-11-01T00:00:00+01:00", "2026-12-01T00:00:00+01:00"),
        ("2026-10-25", "2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
        ("2026-10-25T12:00", "2026-10-25T12:00Z", "2026-10-25T12:00:00+01:00", "2026-10-25T13:00:00+01:00"),
        ("2d", "2026-12-01", "2026-11-17T00:00:00+01:00", "2026-12-02T00:00:00+01:00"),
        (None, None, "2026-11-01T00:00:00+01:00", None),
    ],
)
async def test_a_span_of_time_in_the_zone_of_the_ledger(
    open_context: OpenContext, since: str | None, until: str | None, first: str, last: str | None
):
    query = ReportQuery(moments=Moments(since, until))
    report = await make_report(open_context(timezone="Europe/Berlin"), query)
    assert (report.since, report.until) == (first, last)
    assert (report.rows, report.total.requests, str(report.total.cost)) == ((), 0, "0.00")
