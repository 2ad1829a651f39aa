"""Spans and gauges of counters of tokens and requests."""

from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from budget_middleware.core.units import Amounts, Unit
from budget_middleware.stores.base import Store
from budget_middleware.telemetry.names import rejection_attributes
from budget_middleware.testing import MovableClock
from tests.ledger.conftest import OpenLedger, hold
from tests.stores.verbs import KEY, finalize, reserve, target
from tests.telemetry.conftest import BOTH_SETTINGS, Spans
from tests.telemetry.proof import all_changes, only, prove

TOKENS, REQUESTS = target(unit=Unit.TOKENS), target("team:b", unit=Unit.REQUESTS)
ALL = (KEY, TOKENS, REQUESTS)


@BOTH_SETTINGS
async def test_each_figure_is_told_in_its_unit(base: Store, spans: Spans, open_ledger: OpenLedger):
    ledger = open_ledger()
    await ledger.adjust((), amount=Amounts(-100_000_000, 812, 1), targets=ALL, reason="x")
    held = hold("0.10", id="r1", targets=ALL)
    await ledger.finalize(held, actual=Amounts(usd=100_000_000, tokens=50))
    await prove(base, spans())
    adjust, ended = only(spans(), "budget.adjust").attributes or {}, only(spans(), "budget.finalize").attributes or {}
    assert {name: adjust[name] for name in adjust if name.startswith("budget.amount")} == {
        "budget.amount_usd": -0.1,
        "budget.amount_tokens": 812,
        "budget.amount_requests": 1,
    }
    assert {name: ended[name] for name in ended if name.startswith("budget.amount")} == {
        "budget.amount_usd": 0.1,
        "budget.amount_tokens": 50,
    }
    of_tokens = [each for each in all_changes(spans()) if each.attributes["budget.unit"] == "tokens"]
    assert [each.attributes["budget.spent.after_tokens"] for each in of_tokens] == [812, 862]
    assert not [name for each in of_tokens for name in each.attributes if name.endswith("_usd")]


async def test_a_refusal_names_the_figures_of_its_unit(base: Store):
    limited = target(limit="100", unit=Unit.TOKENS)
    await base.finalize(finalize("r0", "0 90", limited))
    refused = (await base.reserve(reserve("r1", "0 20", limited))).rejection
    assert refused is not None
    said = rejection_attributes(refused)
    assert (said["budget.unit"], said["budget.limit_tokens"], said["budget.spent.before_tokens"]) == ("tokens", 100, 90)


async def test_a_gauge_for_each_unit(
    base: Store, clock: MovableClock, metric_reader: InMemoryMetricReader, open_ledger: OpenLedger
):
    await base.reserve(reserve("r1", "0.60 812 1", *ALL))
    ledger = open_ledger()
    await ledger.sweep()
    data: Any = metric_reader.get_metrics_data()
    told = {
        (metric.name, point.attributes["kind"]): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.startswith("budget.reserved")
        for point in metric.data.data_points
    }
    assert told == {
        ("budget.reserved", "key"): 0.6,
        ("budget.reserved.tokens", "key"): 812,
        ("budget.reserved.requests", "team"): 1,
    }


@BOTH_SETTINGS
async def test_a_reserve_tells_what_it_asks_for_in_the_units_that_are_limited(spans: Spans, open_ledger: OpenLedger):
    ledger = open_ledger("key=1/month; key=9000tokens/day; key=2inflight; team=60requests/minute")
    held = hold("0.10", id="r1")
    held.asked = Amounts(100_000_000, tokens=812, requests=1, inflight=1)
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(50_000_000, tokens=90, requests=1))
    reserve_, ended = (
        only(spans(), "budget.reserve").attributes or {},
        only(spans(), "budget.finalize").attributes or {},
    )
    assert {name: reserve_[name] for name in reserve_ if name.startswith("budget.estimate")} == {
        "budget.estimate_usd": 0.1,
        "budget.estimate_tokens": 812,
        "budget.estimate_inflight": 1,
    }
    assert {name: ended[name] for name in ended if name.startswith("budget.amount")} == {
        "budget.amount_usd": 0.05,
        "budget.amount_tokens": 90,
    }
