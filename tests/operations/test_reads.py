"""What operators read: rows with exact figures, the same for every face."""

import asyncio
from dataclasses import replace

import pytest

from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.operations.account_explanation import explain_account
from budget_middleware.operations.audits import audit
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counters import list_counters
from budget_middleware.operations.journal import follow_journal, latest_entries
from budget_middleware.operations.refusals import list_refusals
from budget_middleware.operations.reservation_explanation import explain_reservation
from budget_middleware.operations.rows import LinkedEntryRow
from budget_middleware.operations.values import as_json
from budget_middleware.stores.base import Store
from tests.operations.conftest import OpenContext
from tests.stores.by_hand import change_by_hand
from tests.stores.verbs import KEY, START_MS, adjust, finalize, reserve, target

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ID = "a" * 32


async def test_counters_are_listed_also_where_only_a_limit_names_them(open_context: OpenContext, base: Store):
    context = open_context(limits="key=1/month; team:a=5/total")
    await base.reserve(reserve(ID, "0.25"))
    own, limited = await list_counters(context)
    assert as_json(own) == {
        "account": KEY.account,
        "period": "month",
        "window": KEY.window.id,
        "unit": "usd",
        "limit_usd": "1.00",
        "spent_usd": "0.00",
        "reserved_usd": "0.25",
        "available_usd": "0.75",
        "resets_at": "2026-12-01T00:00:00+00:00",
        "limit_pattern": "key:*",
    }
    assert (limited.account, limited.available, limited.resets_at) == ("team:a", "5.00", None)
    assert await list_counters(context, over_percent=20) == [own]


async def test_limits_that_refuse_nothing_stand_beside_the_one_that_does(open_context: OpenContext, base: Store):
    context = open_context(limits="key=1/month; key=0.50/month!soft; team:a=5/total!shadow")
    await base.reserve(reserve(ID, "0.25"))
    own, limited = map(as_json, await list_counters(context))
    assert (own["limit_usd"], own["soft_usd"], "shadow_usd" in own) == ("1.00", "0.50", False)
    assert (limited["limit_usd"], limited["shadow_usd"], "soft_usd" in limited) == (None, "5.00", False)


async def test_the_journal_is_followed_from_where_a_page_ends(context: OperatorContext, base: Store):
    await base.adjust(adjust("a1", "1"))
    page = await latest_entries(context, count=10)
    assert [entry.spent for entry in page.entries] == ["1.00"]
    await base.adjust(adjust("a2", "1", target("key:other")))
    await base.adjust(adjust("a3", "1"))
    pages = follow_journal(context, KEY.account, positions=page.positions, trace_url="http://traces/{trace_id}")
    first = await anext(pages)
    assert [(entry.reservation_id, entry.trace_url) for entry in first] == [("a3", None)]

    async def next_page() -> tuple[LinkedEntryRow, ...]:
        return await anext(pages)

    following = asyncio.create_task(next_page())
    await base.adjust(adjust("a4", "1"))
    async with asyncio.timeout(30):
        assert [entry.reservation_id for entry in await following] == ["a4"]
    await pages.aclose()


async def test_refusals_are_listed_by_account(context: OperatorContext, base: Store):
    rejection = Rejection(target(limit="1"), Balance(nanos_from_usd("0.90"), 0), nanos_from_usd("0.20"))
    for_two = LoggedRefusal(START_MS, ID, (KEY.account, "team:a"), rejection, model="gpt-4o", trace=TRACE)
    await base.log_refusals([for_two, replace(for_two, reservation_id="b" * 32, accounts=(KEY.account,))])
    assert len(await list_refusals(context)) == 2
    (row,) = await list_refusals(context, "team:a", trace_url="http://traces/{trace_id}")
    assert (row.reason, row.shortfall, row.trace_url) == ("spent", "0.10", f"http://traces/{TRACE.split('-')[1]}")
    assert "shortfall_usd" not in as_json(row), "JSON is a contract"


async def test_a_reservation_is_explained(context: OperatorContext, base: Store):
    await base.reserve(reserve(ID, "0.60"))
    await base.finalize(replace(finalize(ID, "0.10"), reason="usage"))
    explained = await explain_reservation(context, ID)
    assert explained is not None
    assert (explained.booked, explained.held, explained.expires_in_s) == (Amounts(usd=100_000_000), Amounts(), None)
    assert explained.outcome == "it is over and has booked $0.10."
    assert [event.after_s for event in explained.events] == [0, 0]
    assert (explained.is_booked, explained.bill) == (True, None)
    assert await explain_reservation(context, "0" * 32) is None


async def test_an_account_is_explained(context: OperatorContext, base: Store):
    await base.reserve(reserve(ID, "0.60"))
    await base.adjust(replace(adjust("a1", "-0.02"), reason="by ann: refund"))
    explained = await explain_account(context, KEY.account)
    assert explained is not None
    (counter,) = explained.counters
    assert (counter.held, counter.unexplained, counter.adjusted_by) == ("0.60", "0.00", (("by ann", "-0.02"),))
    assert counter.changes[Status.RESERVED].reserved == "0.60"
    assert await explain_account(context, "key:nobody") is None


@pytest.mark.parametrize("repairs", [False, True])
async def test_an_audit_reports_drift_and_repairs_it_on_request(
    context: OperatorContext, base: Store, *, repairs: bool
):
    await base.adjust(adjust("a1", "1"))
    await change_by_hand(base, KEY.counter, spent=5)
    report = await audit(context, repairs=repairs)
    assert report.is_clean is repairs
    told = as_json(report)
    if repairs:
        assert [(row["spent_before_usd"], row["spent_usd"]) for row in told["repaired"]] == [("1.000000005", "1.00")]
    else:
        assert [(row["what"], row["expected_usd"], row["found_usd"]) for row in told["drift"]] == [
            ("spent", "1.00", "1.000000005")
        ]
        assert "repaired" not in told
