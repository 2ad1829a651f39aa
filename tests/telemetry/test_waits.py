"""How long a reserve waited for what others held, and how that ended: on its span, and in a metric."""

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from budget_middleware.core.units import Amounts
from tests.ledger.conftest import OpenLedger, hold
from tests.ledger.waiting.test_waiting_lines import Client, held, waiting
from tests.telemetry.conftest import Spans
from tests.telemetry.test_metrics import points

pytestmark = pytest.mark.parametrize("base", ["memory"], indirect=True)


async def test_a_wait_is_told_by_one_span_and_one_figure(
    open_ledger: OpenLedger, spans: Spans, metric_reader: InMemoryMetricReader
):
    ledger = open_ledger()
    first = await held(ledger, "0.60")
    task, wanted = await waiting(ledger)
    await ledger.reserve(hold("0.60"), caller=Client(0.01))
    await ledger.finalize(first, actual=Amounts())
    assert (await task).admits
    await ledger.finalize(wanted, actual=Amounts())

    reserves = [dict(span.attributes or {}) for span in spans() if span.name == "budget.reserve"]
    ends = [attributes.get("budget.wait.end") for attributes in reserves]
    assert sorted(map(str, ends)) == ["None", "admitted", "timeout"]
    waited = [attributes["budget.wait.duration_s"] for attributes in reserves if "budget.wait.end" in attributes]
    assert all(isinstance(seconds, float) and seconds >= 0.01 for seconds in waited)
    found = points(metric_reader)
    assert {point.attributes["end"]: point.count for point in found["budget.wait.duration"]} == {
        "admitted": 1,
        "timeout": 1,
    }
