"""Figures of several units share the columns of a table; what a row counts stands beside them."""

import pytest

from budget_middleware.core.model import Target
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Finalize
from budget_middleware.core.windows import Period
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import RunCli
from tests.stores.verbs import reserve, target

KEY = "key:abcabc0000000000"
LIMITS = "key=1/month; key=20000tokens/month; key=8inflight"


@pytest.fixture
async def counted(store: RedisStore, now_ms: int) -> tuple[Target, ...]:
    targets = (
        target(KEY, at_ms=now_ms),
        target(KEY, unit=Unit.TOKENS, at_ms=now_ms),
        target(KEY, period=Period.TOTAL, unit=Unit.INFLIGHT, at_ms=now_ms),
    )
    await store.reserve(reserve("a" * 32, "0.25 812 0 1", *targets))
    await store.reserve(reserve("b" * 32, "0.10 500 0 1", *targets))
    await store.finalize(Finalize("b" * 32, targets, Amounts(usd=75_000_000, tokens=700), reason="usage"))
    return targets


@pytest.mark.usefixtures("counted")
async def test_status_names_the_unit_of_a_row_and_not_of_each_column(cli: RunCli):
    head, *rows = cli("status", BUDGET_LIMITS=LIMITS).out.splitlines()
    assert head.split() == [
        *("account", "period", "window", "unit", "limit", "spent", "reserved", "available", "resets_at"),
        "limit_pattern",
    ]
    assert [row.split()[3:8] for row in rows] == [
        ["usd", "1.00", "0.075", "0.25", "0.675"],
        ["tokens", "20000", "700", "812", "18488"],
        ["inflight", "8", "0", "1", "7"],
    ]


@pytest.mark.usefixtures("counted")
async def test_an_explanation_has_one_column_of_amounts(cli: RunCli):
    sentences, _, listed = cli("explain", KEY, BUDGET_LIMITS=LIMITS).out.partition("\n\n")
    head, *rows = listed.splitlines()
    assert head.split()[:3] == ["what", "amount", "time"]
    assert [row.partition("  20")[0].rstrip().split(maxsplit=1) for row in rows] == [
        ["held", "$0.25, 812 tokens, 1 in flight"],
        ["finalized", "$0.075"],
        ["finalized", "700 tokens"],
    ]
    assert "1 finalized and gave its place back." in sentences


async def test_limits_of_several_units_begin_at_one_column(cli: RunCli, store: RedisStore):
    listed = cli("limit", "set", KEY, "20.5/day", "8inflight", "200000tokens/minute", "--new", BUDGET_LIMITS=LIMITS).out
    head, *rows = listed.splitlines()
    begins = head.index("limit")
    assert [row[begins:].split()[0] for row in rows if "runtime" in row] == [
        *("200000tokens/minute", "20.50/day", "8inflight"),
    ]
    assert all(row[begins - 1] == " " != row[begins] for row in rows)


@pytest.mark.usefixtures("counted")
async def test_sentences_agree_with_their_amounts_in_number(cli: RunCli):
    told = cli("explain", KEY, BUDGET_LIMITS=LIMITS).out
    assert "1 finalized: $0.075 was booked." in told
    assert "1 finalized: 700 tokens were booked." in told
