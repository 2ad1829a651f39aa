"""What operators read of counters of tokens and requests: never dollars, and never by a limit of money."""

from budget_middleware.core.units import Amounts, Unit
from budget_middleware.operations.account_explanation import explain_account
from budget_middleware.operations.audits import audit
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counters import list_counters
from budget_middleware.operations.holds import list_holds
from budget_middleware.operations.journal import latest_entries
from budget_middleware.operations.reservation_explanation import explain_reservation
from budget_middleware.operations.values import as_json
from budget_middleware.stores.base import Store
from tests.operations.conftest import OpenContext
from tests.stores.by_hand import change_by_hand
from tests.stores.verbs import KEY, finalize, reserve, target

TOKENS, REQUESTS = target(unit=Unit.TOKENS), target(unit=Unit.REQUESTS)
ALL = (KEY, TOKENS, REQUESTS)
ID = "a" * 32


async def test_a_counter_has_its_unit_and_no_limit_of_another(open_context: OpenContext, base: Store):
    context = open_context(limits="key=1/month")
    await base.reserve(reserve(ID, "0.25 812 1", *ALL))
    rows = [as_json(row) for row in await list_counters(context)]
    where = {"account": KEY.account, "period": "month", "window": KEY.window.id, "resets_at": rows[0]["resets_at"]}
    assert rows[0]["limit_usd"] == "1.00"
    assert rows[1:] == [
        where
        | {
            "unit": "tokens",
            "limit_tokens": None,
            "spent_tokens": "0",
            "reserved_tokens": "812",
            "available_tokens": None,
        },
        where
        | {
            "unit": "requests",
            "limit_requests": None,
            "spent_requests": "0",
            "reserved_requests": "1",
            "available_requests": None,
        },
    ]
    assert [row.unit for row in await list_counters(context, top=3)] == [Unit.USD, Unit.TOKENS, Unit.REQUESTS]
    assert [row.unit for row in await list_counters(context, over_percent=1)] == [Unit.USD]


async def test_holds_and_entries_have_their_units(context: OperatorContext, base: Store):
    await base.reserve(reserve(ID, "0.25 812 0", *ALL))
    (hold,) = await list_holds(context)
    said = as_json(hold)
    assert {name: said[name] for name in said if name.startswith("amount")} == {
        "amount_usd": "0.25",
        "amount_tokens": "812",
    }
    page = await latest_entries(context, count=10)
    _, entry = [as_json(each) for each in page.entries]
    assert (entry["unit"], entry["reserved_delta_tokens"], entry["reserved_tokens"]) == ("tokens", "812", "812")
    assert not [name for name in entry if name.endswith("_usd")]


async def test_both_stories_tell_figures_in_their_unit(context: OperatorContext, base: Store):
    await base.reserve(reserve(ID, "0.25 812 1", *ALL))
    await base.finalize(finalize(ID, "0.10 700 1", *ALL))
    life = await explain_reservation(context, ID)
    assert life is not None
    assert life.outcome == "it is over and has booked $0.10 and 700 tokens and 1 request."
    assert life.booked == Amounts(100_000_000, 700, 1)
    account = await explain_account(context, KEY.account)
    assert account is not None
    told = {row["unit"]: row for row in map(as_json, account.counters)}
    assert told["tokens"]["changes"]["reserved"] == {"count": 1, "spent_tokens": "0", "reserved_tokens": "812"}
    assert told["tokens"]["before"] == {"spent_tokens": "0", "reserved_tokens": "0"}
    assert told["tokens"]["unexplained_tokens"] == "0"
    assert told["usd"]["changes"]["finalized"] == {"count": 1, "spent_usd": "0.10", "reserved_usd": "-0.25"}


async def test_an_audit_repairs_a_counter_of_tokens(context: OperatorContext, base: Store):
    await base.finalize(finalize(ID, "0.10 700 1", *ALL))
    await change_by_hand(base, TOKENS.counter, spent=5)
    (drift,) = (await audit(context)).drift
    said = as_json(drift)
    assert (said["unit"], said["expected_tokens"], said["found_tokens"]) == ("tokens", "700", "705")
    report = await audit(context, repairs=True)
    assert report.is_clean
    (repaired,) = as_json(report)["repaired"]
    assert (repaired["spent_before_tokens"], repaired["spent_tokens"]) == ("705", "700")
