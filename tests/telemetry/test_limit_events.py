"""Limits that refuse nothing, and alerts: events on the spans of the verbs that met them, and metrics."""

from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from budget_middleware.core.units import Amounts
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.telemetry.conftest import BOTH_SETTINGS, Spans
from tests.telemetry.proof import named, only, with_events
from tests.telemetry.test_metrics import points

LIMITS = "key=1/day!alert=50; key=0.50/day!soft; key=0.40/day!shadow"
OF_COUNTER = {
    "budget.account": "key:a",
    "budget.account.kind": "key",
    "budget.period": "day",
    "budget.window": "2026-11-18",
    "budget.unit": "usd",
}


def events(spans: Spans) -> list[tuple[str, str, dict[str, Any]]]:
    """Those of limits, each with the span that it is on."""
    return [
        (span.name, event.name, dict(event.attributes or {}))
        for span in spans()
        for event in span.events
        if event.name != "budget.counter"
    ]


@BOTH_SETTINGS
@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_of_very_many_none_is_lost_and_none_takes_the_place_of_a_change(open_ledger: OpenLedger, spans: Spans):
    """An SDK keeps 128 events of a span and drops the oldest of more: the changes of counters, which come first."""
    percents = range(1, 101)
    alerts = ",".join(map(str, percents))
    ledger, held = open_ledger(f"key=1/month!alert={alerts}; global=1/day!alert={alerts}"), hold("1")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("1")))
    assert [span.name for span in spans() if span.dropped_events] == []
    assert len([each for each in with_events(spans()) if each.name == "budget.counter"]) == 4
    finalize, below = only(spans(), "budget.finalize"), named(spans(), "budget.alert")
    assert all(span.parent == finalize.get_span_context() for span in below)
    told = [each.attributes or {} for each in with_events([finalize, *below]) if each.name == "budget.alert"]
    assert sorted((each["budget.account.kind"], each["budget.alert.percent"]) for each in told) == [
        (kind, percent) for kind in ("global", "key") for percent in percents
    ]


@BOTH_SETTINGS
@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_each_says_what_it_was_on_the_span_of_its_verb(open_ledger: OpenLedger, spans: Spans):
    ledger = open_ledger(LIMITS)
    await ledger.reserve(hold("0.20"))
    held = hold("0.60")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.55")))
    before = {"budget.spent.before_usd": 0.0, "budget.reserved.before_usd": 0.2}
    assert events(spans) == [
        (
            "budget.reserve",
            "budget.soft_limit",
            {**OF_COUNTER, **before, "budget.limit_usd": 0.5, "budget.limit.mode": "soft"},
        ),
        (
            "budget.reserve",
            "budget.shadow_limit",
            {**OF_COUNTER, **before, "budget.limit_usd": 0.4, "budget.limit.mode": "shadow"},
        ),
        (
            "budget.finalize",
            "budget.alert",
            {
                **OF_COUNTER,
                "budget.limit.mode": "enforce",
                "budget.alert.percent": 50,
                "budget.limit_usd": 1.0,
                "budget.spent.after_usd": 0.55,
            },
        ),
    ]


@pytest.mark.parametrize("base", ["memory"], indirect=True)
@pytest.mark.parametrize(("enforce", "shadow"), [(True, 1), (False, 2)])
async def test_they_are_counted_by_kind_mode_and_unit(
    open_ledger: OpenLedger, metric_reader: InMemoryMetricReader, *, enforce: bool, shadow: int
):
    """Where nothing is enforced the limit that would have refused is a shadow limit too."""
    ledger = open_ledger("team=0.50/day; key=0.50/day!soft; key=0.40/day!shadow!alert=100", enforce=enforce)
    held = hold("0.60")
    if not enforce:
        held.payers = {**held.payers, "team": "b"}
    await ledger.reserve(held)
    await ledger.finalize(held, actual=held.asked)
    passed = points(metric_reader)["budget.limits.passed"]
    by_mode: dict[object, int] = {}
    for point in passed:
        by_mode[point.attributes["mode"]] = by_mode.get(point.attributes["mode"], 0) + point.value
    assert by_mode == {"soft": 1, "shadow": shadow}
    (alert,) = [point for point in points(metric_reader)["budget.alerts"] if point.value]
    assert dict(alert.attributes) == {"kind": "key", "mode": "shadow", "unit": "usd", "percent": 100}
