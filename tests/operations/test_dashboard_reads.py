"""What a dashboard asks for: pages of many counters, where spending leads, what limits would refuse or let pass."""

import pytest

from budget_middleware.core.limits.grammar import parse_amounts
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.operations.account_facts import read_account
from budget_middleware.operations.burn_down import burn_downs
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counter_snapshot import CounterOrder, read_snapshot
from budget_middleware.operations.counters import list_counters
from budget_middleware.operations.limit_preview import preview_limits
from budget_middleware.operations.limits import set_limits
from budget_middleware.operations.refusal_remedies import remedies_for
from budget_middleware.operations.rows import refusal_row
from budget_middleware.stores.base import Store
from tests.operations.conftest import OpenContext
from tests.stores.verbs import KEY, START_MS, adjust, finalize, reserve, target

ID = "a" * 32
OTHER = "b" * 32


async def three_keys(base: Store) -> None:
    for id_, amount, name in (("a1", "3", "key:a"), ("a2", "1", "key:b"), ("a3", "2", "team:c")):
        await base.adjust(adjust(id_, amount, target(name)))


async def accounts(context: OperatorContext, **asked: object) -> list[str]:
    snapshot = await read_snapshot(context)
    return [row.account for row in snapshot.page(**asked).rows]  # type: ignore[arg-type]


async def test_a_page_is_sorted_by_what_is_asked_for(open_context: OpenContext, base: Store):
    context = open_context(limits="key=10/month; team=2/month")
    await three_keys(base)
    await base.reserve(reserve(ID, "0.50", target("key:b")))
    assert await accounts(context) == ["team:c", "key:a", "key:b"]
    assert await accounts(context, order=CounterOrder.SPENT) == ["key:a", "team:c", "key:b"]
    assert await accounts(context, order=CounterOrder.RESERVED) == ["key:b", "key:a", "team:c"]
    assert await accounts(context, order=CounterOrder.AVAILABLE) == ["team:c", "key:a", "key:b"]
    assert await accounts(context, order=CounterOrder.ACCOUNT, is_reversed=True) == ["team:c", "key:b", "key:a"]


async def test_a_page_is_a_part_of_what_matches(open_context: OpenContext, base: Store):
    await three_keys(base)
    snapshot = await read_snapshot(open_context(limits="key=3/month"))
    page = snapshot.page(match="key", offset=1, count=1)
    assert ([row.account for row in page.rows], page.matching, page.total) == (["key:b"], 2, 3)
    assert snapshot.page(match="*:c").matching == 1
    assert (snapshot.used_at_least(100), snapshot.used_at_least(30)) == (1, 2)


async def test_what_is_left_burns_down_to_the_end_of_the_window(open_context: OpenContext, base: Store):
    context = open_context(limits="key=10/month")
    await base.reserve(reserve(ID, "1"))
    await base.finalize(finalize(ID, "5"))
    facts = await read_account(context, KEY.account, include_past=False)
    (burn_down,) = burn_downs(facts, context.settings.timezone).values()
    assert [spent for _, spent in burn_down.points] == [0, 0, nanos_from_usd("5"), nanos_from_usd("5")]
    assert (burn_down.starts_ms, burn_down.since_ms) == (KEY.window.starts_ms, KEY.window.starts_ms)
    assert burn_down.forecast is not None
    assert burn_down.forecast.reaches_limit_ms is None
    assert burn_down.sentence == "At the pace so far, about $8.52 of $10.00 will be spent when 2026-11 ends."


async def test_a_pace_that_passes_the_limit_says_when(open_context: OpenContext, base: Store):
    context = open_context(limits="key=10/month")
    await base.adjust(adjust("a1", "9"))
    facts = await read_account(context, KEY.account, include_past=False)
    (burn_down,) = burn_downs(facts, context.settings.timezone).values()
    assert burn_down.forecast is not None
    assert START_MS < (burn_down.forecast.reaches_limit_ms or 0) < KEY.window.ends_ms
    assert "before 2026-11 ends: it would come to about $15.33." in burn_down.sentence


async def test_where_nothing_is_spent_that_is_said_however_late_it_is(open_context: OpenContext, base: Store):
    context = open_context(limits="key=10/month")
    await base.reserve(reserve("r1", "0.25"))
    facts = await read_account(context, KEY.account, include_past=False)
    (burn_down,) = burn_downs(facts, context.settings.timezone).values()
    assert burn_down.sentence == "Nothing of the $10.00 for 2026-11 is spent."


async def test_a_spent_limit_is_said_so_and_without_a_limit_nothing(open_context: OpenContext, base: Store):
    await base.adjust(adjust("a1", "9"))
    for limits, told in (("key=9/month", ["The limit of $9.00 for 2026-11 is spent."]), ("", [])):
        context = open_context(limits=limits)
        facts = await read_account(context, KEY.account, include_past=False)
        assert [each.sentence for each in burn_downs(facts, context.settings.timezone).values()] == told


TEAM = target("team:a")


@pytest.mark.parametrize("pattern", ["team:a", "team:*"])
async def test_a_preview_tells_what_the_change_then_does(open_context: OpenContext, base: Store, pattern: str):
    context = open_context(limits="team=10/month")
    await base.adjust(adjust("a1", "1", TEAM))
    await base.reserve(reserve(ID, "0.75", TEAM))
    changes = parse_amounts("2/month")
    preview = await preview_limits(context, pattern, changes)
    (counter,) = preview.counters
    assert (counter.now.available, counter.then.available, counter.refuses_all) == ("8.25", "0.25", False)
    assert (preview.changed, preview.exhausted) == (1, 0)
    (untouched,) = await list_counters(context, TEAM.account)
    assert untouched.available == "8.25"
    await set_limits(context, pattern, changes, is_new=True)
    (changed,) = await list_counters(context, TEAM.account)
    assert changed == counter.then


async def test_a_preview_counts_what_would_be_refused(open_context: OpenContext, base: Store):
    context = open_context(limits="team=10/month")
    for id_, amount in ((ID, "3"), (OTHER, "0.25")):
        await base.reserve(reserve(id_, amount, TEAM))
        await base.finalize(finalize(id_, "0.25", TEAM))
    (counter,) = (await preview_limits(context, TEAM.account, parse_amounts("1/month"))).counters
    assert (counter.recent, counter.refused) == (2, 1)
    preview = await preview_limits(context, TEAM.account, parse_amounts("0.50/month"))
    assert (preview.exhausted, preview.counters[0].refuses_all) == (1, True)


async def test_a_limit_below_a_more_specific_one_changes_nothing(open_context: OpenContext, base: Store):
    context = open_context(limits="team=10/month; team:a=5/month")
    await base.adjust(adjust("a1", "1", TEAM))
    await set_limits(context, TEAM.account, parse_amounts("4/month"))
    assert (await preview_limits(context, "team:*", parse_amounts("1/month"))).changed == 0


def refused(*, spent: str, reserved: str, estimate: str) -> LoggedRefusal:
    balance = Balance(nanos_from_usd(spent), nanos_from_usd(reserved))
    rejection = Rejection(target(limit="1"), balance, nanos_from_usd(estimate))
    return LoggedRefusal(START_MS, ID, (KEY.account,), rejection)


@pytest.mark.parametrize(
    ("spent", "reserved", "estimate", "expected"),
    [
        (
            "0.90",
            "0",
            "0.20",
            (
                "A limit of $1.10 instead of $1.00.",
                "A credit of $0.10 in window 2026-11.",
                "A request of at most $0.10 instead of $0.20.",
            ),
        ),
        (
            "0.50",
            "0.50",
            "0.20",
            (
                "$0.20 less held by other requests: it could pass as soon as they ended, with BUDGET_WAIT_S by itself.",
                "A limit of $1.20 instead of $1.00.",
            ),
        ),
    ],
    ids=["spent", "held"],
)
def test_a_refusal_says_what_would_have_let_it_pass(spent, reserved, estimate, expected):
    row = refusal_row(refused(spent=spent, reserved=reserved, estimate=estimate), None)
    assert remedies_for(row).sentences == expected
