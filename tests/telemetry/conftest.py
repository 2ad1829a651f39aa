"""An SDK of its own for every test. OpenTelemetry's globals can be set once a process, so they are swapped."""

from collections.abc import Callable, Iterator
from types import CellType
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from budget_middleware.ledger import Ledger
from budget_middleware.telemetry import Telemetry, gauges
from budget_middleware.telemetry import metrics as metrics_module
from budget_middleware.telemetry import spans as spans_module

# Its store, its faults and its ledgers serve here too.
from tests.ledger.conftest import OpenLedger, base, clock, faults, ledger  # noqa: F401
from tests.ledger.conftest import open_ledger as open_any_ledger  # noqa: F401

Spans = Callable[[], tuple[ReadableSpan, ...]]
UseProvider = Callable[..., Spans]


@pytest.fixture
def use_provider(monkeypatch: pytest.MonkeyPatch) -> UseProvider:
    """Makes a tracer provider the process's own; options are those of `TracerProvider`. What it exported comes back."""

    def use(**options: object) -> Spans:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False, **options)  # type: ignore[arg-type]
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        return exporter.get_finished_spans

    return use


@pytest.fixture
def spans(use_provider: UseProvider) -> Spans:
    return use_provider()


@pytest.fixture
def spans_per() -> str:
    """BUDGET_SPANS of the ledgers that `open_ledger` makes."""
    return "counter"


BOTH_SETTINGS = pytest.mark.parametrize("spans_per", ["counter", "verb"])


@pytest.fixture
def open_ledger(open_any_ledger: OpenLedger, spans_per: str) -> OpenLedger:  # noqa: F811 - the one of plain ledgers
    def open_one(*args: Any, **options: Any) -> Ledger:
        return open_any_ledger(*args, **{"telemetry": Telemetry(spans=spans_per), **options})

    return open_one


@pytest.fixture
def metric_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER", provider)
    # Ledgers of other tests may still live.
    monkeypatch.setattr(gauges, "_observed", [])
    yield reader
    provider.shutdown()


@pytest.fixture
def unlogged() -> None:
    """Forgets that a failure was logged already, in another test."""
    for owner in (spans_module, metrics_module, spans_module.Spans, metrics_module.Metrics):
        for method in vars(owner).values():
            cells = _closure(method)
            if "counted" in cells:  # Metrics are received first, and then do no harm.
                cells = _closure(cells["counted"].cell_contents)
            if "logged" in cells:
                cells["logged"].cell_contents = False


def _closure(method: object) -> dict[str, CellType]:
    return dict(zip(_free_names(method), getattr(method, "__closure__", None) or (), strict=True))


def _free_names(method: object) -> tuple[str, ...]:
    code = getattr(method, "__code__", None)
    return code.co_freevars if code is not None else ()
