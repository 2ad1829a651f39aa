"""docs/reports.md: its commands print what the page shows."""

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from budget_middleware.core.costs.bill_packing import PricedCall, pack
from budget_middleware.core.costs.pricing import Line, Rates, UsageClass
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection, Target
from budget_middleware.core.periods import Period
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Finalize
from budget_middleware.stores.redis import RedisStore
from budget_middleware.testing import MovableClock
from tests.cli.conftest import RunCli
from tests.stores.verbs import adjust, reserve, target

PAGE = (Path(__file__).parents[2] / "docs" / "reports.md").read_text("utf-8")
EXAMPLES = re.findall(r"^\$ budget-middleware (report .*)\n((?:.+\n)+?)```", PAGE, re.MULTILINE)
BERLIN = ZoneInfo("Europe/Berlin")
MODELS = {
    "gpt-4o": Rates(model="gpt-4o", provider="openai", source="genai-prices", by_unit={}),
    "claude-haiku-4-5": Rates(model="claude-haiku-4-5", provider="anthropic", source="genai-prices", by_unit={}),
}
# When, who, on which model, tokens of input, from a cache, and of output.
CALLS = [
    ("2026-11-23T09:00", "team:search", "gpt-4o", 120_000, 80_000, 9_000),
    ("2026-11-23T09:05", "team:search", "gpt-4o", 90_000, 0, 7_500),
    ("2026-11-23T23:59", "team:ads", "claude-haiku-4-5", 200_000, 0, 40_000),
    ("2026-11-24T10:00", "team:ads", "gpt-4o", 10_000, 0, 1_250),
    ("2026-11-24T10:30", "team:search", "gpt-4o", 150_000, 0, 12_000),
]
RATES = {"gpt-4o": (2_500, 1_250, 10_000), "claude-haiku-4-5": (1_000, 100, 5_000)}
"""Nano-dollars a token."""


async def play(store: RedisStore, clock: MovableClock) -> None:
    """The story of the page; a request ends two minutes after it began."""
    targets: tuple[Target, ...] = ()
    for number, (time, team, model, *counts) in enumerate(CALLS):
        clock.move_to(int(datetime.fromisoformat(time).replace(tzinfo=BERLIN).timestamp() * 1000))
        periods = (Period.DAY, Period.MONTH)
        targets = tuple(target(team, period=each, at_ms=clock.now_ms, timezone=BERLIN) for each in periods)
        lines = [
            Line(unit, count, rate * 1_000_000)
            for unit, count, rate in zip(
                (UsageClass.INPUT, UsageClass.CACHED_INPUT, UsageClass.OUTPUT), counts, RATES[model], strict=True
            )
            if count
        ]
        nanos = sum(count * rate for count, rate in zip(counts, RATES[model], strict=True))
        await store.reserve(reserve(f"{number:032x}", "1.00", *targets, lease_s=600))
        clock.advance(s=120)
        bill = pack(nanos=nanos, calls=[PricedCall(MODELS[model], lines)])
        await store.finalize(Finalize(f"{number:032x}", targets, Amounts(usd=nanos), reason="usage", bill=bill))
    await store.adjust(adjust("a1", "-0.10", *targets))
    rejection = Rejection(replace(targets[0], limit=10**9), Balance(10**9), 10**8)
    refusal = LoggedRefusal(clock.now_ms, "f" * 32, ("team:search",), rejection, "gpt-4o", times=3)
    await store.log_refusals([refusal])


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_the_page_shows_what_is_printed(cli: RunCli, store: RedisStore, clock: MovableClock, number: int):
    command, shown = EXAMPLES[number]
    await play(store, clock)
    ran = cli(*command.split(), BUDGET_TIMEZONE="Europe/Berlin")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == shown


def test_the_page_has_examples():
    assert len(EXAMPLES) >= 2
