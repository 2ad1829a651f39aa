"""A transfer: which period it concerns, what it did, and why it was not done."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from budget_middleware.core.model import Target
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period, window_named
from budget_middleware.operations.accounts import warnings_for
from budget_middleware.operations.counters import list_counters
from budget_middleware.operations.errors import Confirmation, OperationError, Unconfirmed
from budget_middleware.operations.transfers import TransferDone, transfer
from budget_middleware.operations.values import as_json
from budget_middleware.stores.base import Store
from tests.operations.conftest import OpenContext
from tests.stores.verbs import UTC, adjust, figures, target

A, B = "team:a", "team:b"
USD = 10**9
MONTHS = "team:a=10/month; team:b=5/month"
MONTH_A, MONTH_B = target(A), target(B)
LAPSED_ID = "since-2026-11-01"


async def move(open_context: OpenContext, usd: int = 3, *, limits: str = MONTHS, **options: Any) -> TransferDone:
    source, destination = options.pop("source", A), options.pop("destination", B)
    context = open_context(limits=limits, accounts="team=header:x-team")
    return await transfer(context, source, destination, usd * USD, reason="by ann: x", is_new=True, **options)


async def test_what_it_did_to_both(open_context: OpenContext, base: Store):
    done = await move(open_context)
    assert (done.why_not, done.warnings) == ("", ())
    assert as_json(done.changes) == [
        {
            "seq": seq,
            "account": account,
            "period": "month",
            "window": MONTH_A.window.id,
            "unit": "usd",
            "spent_before_usd": "0.00",
            "spent_usd": spent,
        }
        for seq, account, spent in [(1, A, "3.00"), (2, B, "-3.00")]
    ]
    assert [entry.limit for entry in await base.latest(count=2)] == [10 * USD, 5 * USD]


async def test_more_than_is_available(open_context: OpenContext, base: Store):
    await base.adjust(adjust("a1", "8", MONTH_A))
    done = await move(open_context)
    assert done.changes == ()
    assert (
        done.why_not == f"{A} month {MONTH_A.window.id} has $2.00 available: limit $10.00, spent $8.00, reserved $0.00"
    )
    assert (await base.head()).seq == 1


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ("team=10/day; team=20/month", "both accounts have limits by day, month: name one of these periods"),
        ("team:a=1/day; team:b=1/month", "not both accounts have one: team:a has day; team:b has month"),
        ("team:a=1/day", "not both accounts have one: team:a has day; team:b has none"),
    ],
)
async def test_which_period_is_not_known(open_context: OpenContext, base: Store, limits: str, why: str):
    with pytest.raises(OperationError, match=why):
        await move(open_context, limits=limits)
    assert (await base.head()).seq == 0


async def test_a_period_that_is_named(open_context: OpenContext, base: Store):
    limits = "team=10/day; team=20/month"
    assert {row.period for row in (await move(open_context, limits=limits, period="month")).changes} == {"month"}
    with pytest.raises(
        OperationError,
        match="of the period year, and not both accounts have one: team:a has day, month; team:b has day, month",
    ):
        await move(open_context, limits=limits, period="year")
    with pytest.raises(OperationError, match="'fortnight' is not a period; accepted are "):
        await move(open_context, limits=limits, period="fortnight")


async def test_a_window_that_is_over(open_context: OpenContext, base: Store):
    await move(open_context, window="2025-01")
    assert {view.counter.window for view in await base.counters()} == {"2025-01"}
    with pytest.raises(OperationError, match="'2025-13' is not the id of a window"):
        await move(open_context, window="2025-13")


@pytest.mark.parametrize(
    ("usd", "destination", "why"), [(-3, B, "moves an amount above 0"), (3, A, "cannot transfer to itself")]
)
async def test_what_is_no_transfer(open_context: OpenContext, usd: int, destination: str, why: str):
    with pytest.raises(OperationError, match=why):
        await move(open_context, usd, destination=destination)


async def test_each_account_must_be_known(open_context: OpenContext, base: Store):
    context = open_context(limits="team=10/month", accounts="team=header:x-team")
    await base.adjust(adjust("a1", "1", MONTH_A))
    for parties in ((A, B), (B, A)):
        with pytest.raises(Unconfirmed, match="team:b has no counter and no limit of its own") as unknown:
            await transfer(context, *parties, USD, reason="by ann: x")
        assert unknown.value.needs is Confirmation.NEW_ACCOUNT
    assert await figures(base, MONTH_A) == ("1.00", "0.00")


async def test_between_limits_of_any_period(open_context: OpenContext, base: Store):
    limits = "team=10/month@15; team=50/month"
    assert {row.period for row in (await move(open_context, limits=limits, period="month@15")).changes} == {"month@15"}
    with pytest.raises(OperationError, match="both accounts have limits by month, month@15: name one of these"):
        await move(open_context, limits=limits)


async def test_from_what_has_lapsed_nothing_is_moved(open_context: OpenContext, base: Store):
    limits = "team=10/total@2026-11-01"
    current, named = await move(open_context, limits=limits), await move(open_context, limits=limits, window=LAPSED_ID)
    assert current.why_not.startswith(f"team:a total@2026-11-01 {LAPSED_ID} has $0.00 available: limit $0.00, spent")
    assert named.why_not == current.why_not
    assert not await base.counters()


async def test_a_period_of_any_text(open_context: OpenContext):
    done = await move(open_context, limits="team=10/month@15; team:b=9/24h")
    assert {row.period for row in done.changes} == {"month@15"}


async def test_another_unit(open_context: OpenContext, base: Store):
    context = open_context(limits="team=10/day; team=1000tokens/month", accounts="team=header:x-team")
    done = await transfer(context, A, B, 400, unit=Unit.TOKENS, reason="by ann: x", is_new=True)
    assert [(row.period, row.unit, row.spent) for row in done.changes] == [
        ("month", Unit.TOKENS, "400"),
        ("month", Unit.TOKENS, "-400"),
    ]
    more = await transfer(context, A, B, 601, unit=Unit.TOKENS, reason="by ann: x")
    assert more.why_not.endswith("has 600 tokens available: limit 1000 tokens, spent 400 tokens, reserved 0 tokens")


async def test_what_is_carried_over_is_available(open_context: OpenContext, base: Store):
    """And status shows the limit that binds."""
    limits = "team=10/month!carry=50%"
    assert (await move(open_context, 15, limits=limits)).why_not == ""
    assert [entry.limit for entry in await base.latest(count=2)] == [15 * USD, 15 * USD]
    context = open_context(limits=limits)
    past = window_named(Period.MONTH, "2026-10", timezone=UTC)
    assert MONTH_A.window.id == "2026-11"
    await base.adjust(adjust("a1", "4", Target(A, past), any_window=True))
    rows = {row.account: row for row in await list_counters(context)}
    assert (rows[A].limit, rows[A].available, rows[B].limit) == ("13.00", "-2.00", "15.00")


async def test_the_price_file_is_read_once_for_all_accounts(open_context: OpenContext, tmp_path: Path):
    """A file of a thousand prices takes 70 ms, in which an event loop that reads it does nothing else."""
    file = tmp_path / "prices.json"
    file.write_text('{"ours": {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000001}}', "utf-8")
    context = open_context(prices=str(file))
    told = await warnings_for("model:OURS", context)
    assert told == ("model:OURS is no account of requests for that model: they are charged to model:ours",)
    file.unlink()
    assert await warnings_for("model:OURS", context) == told


async def test_the_accounts_file_is_read_once_and_again_where_it_has_changed(
    open_context: OpenContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A transfer asks it of both accounts."""
    file, read = tmp_path / "accounts.toml", list[str]()
    file.write_text('[keys."1f3a9c0b2d4e5f60"]\nteam = "a"\n', "utf-8")
    parse = tomllib.loads

    def count(text: str) -> dict[str, Any]:
        read.append(text)
        return parse(text)

    monkeypatch.setattr(tomllib, "loads", count)
    context = open_context(limits=MONTHS, accounts="key=token", accounts_file=str(file))
    assert (await transfer(context, A, B, 1, reason="by ann: x", is_new=True)).warnings == ()
    assert len(read) == 1
    file.write_text('[keys."1f3a9c0b2d4e5f60"]\norg = "acme"\n', "utf-8")
    assert "has a source for team" in (await warnings_for(A, context))[0]
    assert len(read) == 2
