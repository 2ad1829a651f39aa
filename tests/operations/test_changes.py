"""What operators change: typed answers, and errors that say what has to be confirmed."""

from dataclasses import replace

import pytest

from budget_middleware.core.limits.limits import LIFTED, LimitMode, Slot, Terms
from budget_middleware.core.limits.texts import limit_text
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import Period
from budget_middleware.ledger import Ledger
from budget_middleware.operations.adjustments import adjust
from budget_middleware.operations.context import OperatorContext, open_context
from budget_middleware.operations.errors import Confirmation, OperationError, Unconfirmed, UnknownFate
from budget_middleware.operations.holds import list_holds, release_hold
from budget_middleware.operations.limits import binding_limits, clear_limits, list_limits, set_limits
from budget_middleware.operations.values import as_json
from budget_middleware.settings_loading import load
from budget_middleware.stores.base import Store
from tests.ledger.faults import FaultyStore, reply_lost
from tests.operations.conftest import OpenContext
from tests.stores.verbs import KEY, figures, reserve
from tests.stores.verbs import adjust as adjustment

ACCOUNT, STRANGER = KEY.account, "key:b"
USD = 10**9


async def test_an_account_that_nobody_used_has_to_be_confirmed(context: OperatorContext, base: Store):
    with pytest.raises(Unconfirmed, match="nothing was ever booked in it") as empty:
        await adjust(context, ACCOUNT, USD, reason="by ann: x")
    await base.adjust(adjustment("a1", "3"))
    with pytest.raises(Unconfirmed, match="key:b has no counter and no limit of its own") as unknown:
        await set_limits(context, STRANGER, {Slot(Period.DAY): Terms(USD)})
    assert {empty.value.needs, unknown.value.needs} == {Confirmation.NEW_ACCOUNT}
    assert "--" not in f"{empty.value}{unknown.value}", "each face says in its own way how to confirm"
    assert (await base.head()).seq == 1
    assert (await base.limits()).limits == {}

    assert (await set_limits(context, STRANGER, {Slot(Period.DAY): Terms(USD)}, is_new=True)).is_done
    assert (await adjust(context, STRANGER, USD, reason="by ann: x")).changes, "by now it is known"


async def test_an_amount_beyond_its_counters_has_to_be_confirmed(context: OperatorContext, base: Store):
    await base.adjust(adjustment("a1", "3"))
    with pytest.raises(Unconfirmed, match=r"-5\.00 USD is more than .* \(at most 3\.00 USD\)") as large:
        await adjust(context, ACCOUNT, -5 * USD, reason="by ann: refund")
    assert large.value.needs is Confirmation.LARGE_AMOUNT
    done = await adjust(context, ACCOUNT, -5 * USD, reason="by ann: refund", is_large=True)
    (change,) = done.changes
    assert as_json(change) == {
        "seq": 2,
        "account": ACCOUNT,
        "period": "month",
        "window": KEY.window.id,
        "unit": "usd",
        "spent_before_usd": "3.00",
        "spent_usd": "-2.00",
    }


@pytest.mark.parametrize(
    ("window", "why"),
    [("fortnight", "'fortnight' is not a period"), ("month:2026-13", "'2026-13' is not the id of a window")],
)
async def test_a_window_that_is_none(context: OperatorContext, base: Store, window: str, why: str):
    with pytest.raises(OperationError, match=why):
        await adjust(context, ACCOUNT, 1, reason="by ann: x", window=window, is_new=True)
    assert (await base.head()).seq == 0


async def test_a_change_whose_answer_was_lost_is_said_to_be_of_unknown_fate(
    context: OperatorContext, base: Store, faults: FaultyStore
):
    await base.adjust(adjustment("a1", "3"))
    impatient = replace(context, ledger=Ledger(faults.store, store_timeout_s=0.2))
    faults.always["adjust"] = reply_lost
    with pytest.raises(UnknownFate):
        await adjust(impatient, ACCOUNT, USD, reason="by ann: x")
    assert await figures(base, KEY) == ("4.00", "0.00"), "it was booked: whoever repeats it books it twice"
    await impatient.ledger.drain()


async def test_limits_say_what_binds_and_by_which_layer(open_context: OpenContext):
    context = open_context(limits="key=5/day; key=9/month")
    change = await set_limits(context, "key:*", {Slot(Period.DAY): Terms(USD), Slot(Period.WEEK): LIFTED}, is_new=True)
    assert [(row.period, row.limit, row.layer) for row in change.binding] == [
        ("day", "1.00", "runtime"),
        ("week", None, "runtime"),
        ("month", "9.00", "environment"),
    ]
    of_the_account = tuple(replace(row, account=ACCOUNT, pattern="key:*") for row in change.binding)
    assert await binding_limits(context, ACCOUNT) == of_the_account
    assert [row.period for row in await list_limits(context)] == ["day", "week"]
    assert (await clear_limits(context, "key:*")).is_done
    assert not (await clear_limits(context, "key:*")).is_done


@pytest.mark.parametrize("terms", [Terms(USD), Terms(USD, alerts=(50,))])
async def test_all_that_a_pattern_has_is_cleared(context: OperatorContext, base: Store, terms: Terms):
    await base.change_limits("team:a", {Slot(Period.DAY): terms, Slot(Period.DAY, mode=LimitMode.SOFT): terms})
    assert not (await clear_limits(context, "team:a", lambda slot: slot == Slot(Period.WEEK))).is_done
    assert (await clear_limits(context, "team:a", lambda slot: slot == Slot(Period.DAY))).is_done
    assert [row.text for row in await list_limits(context)] == [
        limit_text(Slot(Period.DAY, mode=LimitMode.SOFT), terms)
    ]
    assert (await clear_limits(context, "team:a")).is_done
    assert (await base.limits()).limits == {}


async def test_a_kind_that_no_request_has_is_warned_of(context: OperatorContext):
    change = await set_limits(context, "taem:search", {Slot(Period.DAY): Terms(USD)}, is_new=True)
    (warning,) = change.warnings
    assert warning.startswith("neither BUDGET_ACCOUNTS nor BUDGET_ACCOUNTS_FILE has a source for taem")


async def test_a_release_says_what_it_gave_back_or_why_it_did_not(context: OperatorContext, base: Store):
    await base.reserve(reserve("r1", "0.60"))
    assert [(hold.id, hold.amount) for hold in await list_holds(context)] == [("r1", Amounts(usd=600_000_000))]
    released = await release_hold(context, "r1", reason="by ann: stuck")
    assert [(each.reserved_before, each.reserved) for each in released.changes] == [("0.60", "0.00")]
    again = await release_hold(context, "r1", reason="by ann: stuck")
    assert (again.changes, again.why_not) == ((), "its lease is over, it holds nothing any more")
    assert await figures(base, KEY) == ("0.00", "0.00")


async def test_a_store_of_one_process_is_no_operators_store():
    with pytest.raises(OperationError, match="the counters live in the gateway's process"):
        async with open_context(load()):
            pass
