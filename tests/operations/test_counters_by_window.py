"""What operators read of limits that look at more than a counter: rolling ones, those that lapse or carry over."""

from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection, Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import Period
from budget_middleware.operations.account_explanation import explain_account
from budget_middleware.operations.adjustments import adjust as give
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counters import list_counters
from budget_middleware.operations.values import as_json
from budget_middleware.stores.base import Store
from tests.operations.conftest import OpenContext
from tests.stores.verbs import DAY_MS, HOUR_MS, START_MS, adjust, finalize, reserve, target

ROLLING = Period("24h")
FORMER, EARLY, NOW = (target(period=ROLLING, at_ms=START_MS - hours * HOUR_MS) for hours in (25, 23, 0))
ID = "a" * 32


async def book(base: Store) -> None:
    for id_, amount, booked_in in (("a1", "1", FORMER), ("a2", "2", EARLY), ("a3", "4", NOW)):
        await base.adjust(adjust(id_, amount, booked_in, any_window=True))
    await base.reserve(reserve(ID, "0.50", NOW))


async def test_the_current_bucket_stands_for_all_that_count(context: OperatorContext, base: Store):
    await book(base)
    (row,) = await list_counters(context)
    said = as_json(row)
    assert (said["period"], said["window"]) == ("24h", NOW.window.id)
    assert (said["spent_usd"], said["reserved_usd"]) == ("6.00", "0.50")
    assert said["resets_at"] == "2026-11-18T14:48:00+00:00"
    rows = await list_counters(context, include_past=True)
    assert [(row.window, as_json(row)["spent_usd"]) for row in rows] == [
        (FORMER.window.id, "1.00"),
        (NOW.window.id, "6.00"),
    ]


async def test_its_buckets_are_explained_together(context: OperatorContext, base: Store):
    await book(base)
    await base.finalize(finalize(ID, "0.25", NOW))
    explained = await explain_account(context, NOW.account)
    assert explained is not None
    (counter,) = explained.counters
    assert (as_json(counter)["spent_usd"], counter.unexplained.is_nothing) == ("6.25", True)
    assert {status: share.count for status, share in counter.changes.items()} == {
        Status.ADJUSTED: 2,
        Status.RESERVED: 1,
        Status.FINALIZED: 1,
    }
    assert (counter.since_seq, counter.before.spent.is_nothing) == (2, True)


async def test_all_holds_on_its_buckets_are_counted(context: OperatorContext, base: Store):
    await base.reserve(reserve(ID, "0.50", NOW))
    explained = await explain_account(context, NOW.account)
    assert explained is not None
    (counter,) = explained.counters
    assert counter.holds == 1
    assert (await base.holds())[0].held == Amounts(500_000_000)


async def test_what_is_available_is_the_limit_less_the_sums(open_context: OpenContext, base: Store):
    await book(base)
    (row,) = await list_counters(open_context(limits="key=10/24h"))
    assert (row.limit, row.available) == ("10.00", "3.50")


async def test_a_credit_that_lapsed_has_a_limit_of_nothing(open_context: OpenContext, base: Store):
    await base.adjust(adjust("a1", "4", target("team:a", period=Period("total@2026-11-19"))))
    row, lapsed = await list_counters(open_context(limits="team:a=10/total@2026-11-19; team:a=10/total@2026-11-18"))
    shown = [(each.period, each.window, each.limit, each.spent, each.available) for each in (row, lapsed)]
    assert shown == [
        ("total@2026-11-18", "since-2026-11-18", "0.00", "0.00", "0.00"),
        ("total@2026-11-19", "until-2026-11-19", "10.00", "4.00", "6.00"),
    ]
    assert (row.resets_at, lapsed.resets_at) == (None, "2026-11-19T00:00:00+00:00")


async def test_refusals_by_a_bucket_are_told_while_it_counts(context: OperatorContext, base: Store):
    for id_, window in (("a", FORMER), ("b", EARLY)):
        rejection = Rejection(Target(window.account, window.window, 10**9), Balance(10**9), 1)
        await base.log_refusals([LoggedRefusal(window.window.starts_ms, id_ * 32, (window.account,), rejection)])
    explained = await explain_account(context, NOW.account)
    assert explained is not None
    assert [refusal.window for refusal in explained.refusals] == [EARLY.window.id]


async def test_a_credit_reaches_a_rolling_counter_whose_current_bucket_is_new(context: OperatorContext, base: Store):
    await base.adjust(adjust("a1", "2", EARLY, any_window=True))
    (change,) = (await give(context, EARLY.account, -(10**9), reason="by ann: refund")).changes
    assert (change.period, change.window) == ("24h", NOW.window.id)
    (row,) = await list_counters(context)
    assert row.spent == "1.00"


async def test_what_has_lapsed_gets_no_credit_unless_it_is_named(open_context: OpenContext, base: Store):
    context = open_context(limits="team:a=10/total@2026-11-01; team:a=10/month")
    (change,) = (await give(context, "team:a", -(10**9), reason="by ann: refund", is_new=True)).changes
    assert change.period == Period.MONTH
    named = "total@2026-11-01:since-2026-11-01"
    (change,) = (await give(context, "team:a", -1, reason="by ann: refund", window=named, is_new=True)).changes
    assert change.window == "since-2026-11-01"
    assert (await base.latest(count=1))[0].limit == 0


async def test_what_is_carried_over_is_part_of_the_limit(open_context: OpenContext, base: Store):
    october, november = (target("team:a", at_ms=at_ms) for at_ms in (START_MS - 30 * DAY_MS, START_MS))
    await base.adjust(adjust("a1", "4", october, any_window=True))
    await base.adjust(adjust("a2", "1", november))
    context = open_context(limits="team=10/month!carry=50%")
    (row,) = await list_counters(context)
    assert (row.limit, row.available) == ("13.00", "12.00")
    assert [(each.window, each.limit) for each in await list_counters(context, include_past=True)] == [
        ("2026-10", "15.00"),
        ("2026-11", "13.00"),
    ]
    explained = await explain_account(context, "team:a")
    assert explained is not None
    assert explained.counters[0].available == "12.00"
