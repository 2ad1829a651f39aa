"""Without a provider no metric and no span is made; one that is set later is found within a second."""

import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from opentelemetry import metrics as api
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once

from budget_middleware.telemetry import NO_PROVIDER
from budget_middleware.telemetry import metrics as metrics_module
from budget_middleware.telemetry import spans as spans_module
from budget_middleware.telemetry.metrics import Metrics
from budget_middleware.telemetry.spans import Spans


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the metrics, which stands still until it is moved."""
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(metrics_module, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    assert time.monotonic() != clock.now_s
    return clock


@pytest.fixture
def no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER", None)
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(metrics_internal, "_PROXY_METER_PROVIDER", metrics_internal._ProxyMeterProvider())


def test_a_provider_is_looked_for_once_a_second(
    monotonic: SimpleNamespace, no_provider: None, monkeypatch: pytest.MonkeyPatch
):
    looked: list[float] = []
    find = api.get_meter_provider

    def notice() -> api.MeterProvider:
        looked.append(monotonic.now_s)
        return find()

    monkeypatch.setattr(api, "get_meter_provider", notice)
    metrics = Metrics()
    looked.clear()
    for _ in range(1000):
        metrics.count_lost()
        metrics.count_request(status="complete", model="other")
        monotonic.now_s += 0.0025
    assert len(looked) == 3
    assert all(later - earlier >= 1 for earlier, later in pairwise(looked))


def test_a_provider_that_is_set_later_is_found(monotonic: SimpleNamespace, no_provider: None):
    metrics, reader = Metrics(), InMemoryMetricReader()
    metrics.count_lost()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    try:
        api.set_meter_provider(provider)
        monotonic.now_s += 0.999
        metrics.count_lost()
        monotonic.now_s += 0.001
        metrics.count_lost()
        metrics.count_lost()
        assert _value(reader, "budget.spool.lost") == 2
    finally:
        provider.shutdown()


def test_a_tracer_provider_is_looked_for_once_a_second_until_it_is_found(monkeypatch: pytest.MonkeyPatch):
    now_s, looked = [1000.0], []
    provider: list[trace.TracerProvider] = [trace.ProxyTracerProvider()]

    def find() -> trace.TracerProvider:
        looked.append(now_s[0])
        return provider[0]

    monkeypatch.setattr(spans_module, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    spans = Spans(Metrics())
    monkeypatch.setattr(trace, "get_tracer_provider", find)
    for _ in range(1000):
        assert spans.parent([]) is NO_PROVIDER
        now_s[0] += 0.0025
    assert len(looked) == 3
    provider[0] = TracerProvider(shutdown_on_exit=False)
    now_s[0] += 1
    assert spans.parent([]) is not NO_PROVIDER
    assert spans.parent([]) is not NO_PROVIDER
    assert len(looked) == 4


def _value(reader: InMemoryMetricReader, name: str) -> float:
    data = reader.get_metrics_data()
    assert data is not None
    (point,) = [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]
    return float(point.value)  # type: ignore[union-attr]
