"""Telemetry that is broken, slow or absent harms no request."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Sampler

from budget_middleware import BudgetMiddleware
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Ledger, parts
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.telemetry import Telemetry, has_tracer_provider
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.e2e.servers import free_port
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.faults import FaultyStore, reply_lost
from tests.stores.verbs import figures, whole_journal
from tests.telemetry.conftest import Spans, UseProvider
from tests.telemetry.proof import prove


class Broken(Exception):
    pass


def raises(*_: Any, **__: Any) -> Any:
    raise Broken


class BrokenStart(SpanProcessor):
    on_start = raises


class BrokenEnd(SpanProcessor):
    on_end = raises


class BrokenExporter(SpanExporter):
    export = raises


class BrokenSampler(Sampler):
    should_sample = raises

    def get_description(self) -> str:
        return "broken"


class BrokenProvider(trace.TracerProvider):
    """Whose tracers fail at every span."""

    def get_tracer(self, *_: Any, **__: Any) -> Any:
        tracer = trace.NoOpTracer()
        tracer.start_span = raises  # type: ignore[method-assign]
        return tracer


class BrokenSpan(trace.NonRecordingSpan):
    """Which says that it records, and fails at everything else."""

    set_attribute = set_status = add_link = end = raises

    def is_recording(self) -> bool:
        return True


class BrokenSpans(trace.TracerProvider):
    def get_tracer(self, *_: Any, **__: Any) -> Any:
        tracer = trace.NoOpTracer()
        context = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1))
        tracer.start_span = lambda *_, **__: BrokenSpan(context)  # type: ignore[method-assign]
        return tracer


def with_processor(processor: SpanProcessor) -> Callable[[], trace.TracerProvider]:
    def provider() -> TracerProvider:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        return provider

    return provider


BROKEN: dict[str, Callable[[], trace.TracerProvider]] = {
    "provider": BrokenProvider,
    "spans": BrokenSpans,
    "sampler": lambda: TracerProvider(sampler=BrokenSampler(), shutdown_on_exit=False),
    "on_start": with_processor(BrokenStart()),
    "on_end": with_processor(BrokenEnd()),
    "exporter": with_processor(SimpleSpanProcessor(BrokenExporter())),
}


@pytest.mark.parametrize("base", ["memory"], indirect=True)
@pytest.mark.parametrize("broken", BROKEN)
async def test_broken_it_is_logged_once_and_harms_nothing(
    base: Store,
    faults: FaultyStore,
    open_ledger: OpenLedger,
    *,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    clock: Any,
    unlogged: None,
    broken: str,
):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", BROKEN[broken]())
    ledger = open_ledger()
    faults.meets("reserve", reply_lost)
    faults.meets("finalize", reply_lost)
    for at in range(10):
        held = hold("0.10", context=ledger.telemetry.spans.parent([(b"traceparent", b"x")]))
        assert (await ledger.reserve(held)).admits
        if at == 5:
            clock.advance(s=61)
            await ledger.sweep()
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.01")))
    await ledger.adjust(await ledger.claims({"key": "a"}, model=""), amount=Amounts(usd=1), reason="x")
    await ledger.drain()
    assert await figures(base) == ("0.100000001", "0.00")
    logged = Counter(
        record.getMessage() for record in caplog.records if record.getMessage().startswith("telemetry failed")
    )
    assert set(logged.values()) <= {1}
    if broken != "exporter":
        assert logged
        assert all(record.levelno == logging.WARNING for record in caplog.records if record.message in logged)


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_broken_propagator(
    base: Store, spans: Spans, ledger: Ledger, *, monkeypatch: pytest.MonkeyPatch, caplog, unlogged: None
):
    monkeypatch.setattr(propagate, "extract", raises)
    for _ in range(3):
        held = hold("0.10", context=ledger.telemetry.spans.parent([(b"traceparent", b"x")]))
        await ledger.reserve(held)
        await ledger.release(held)
    assert caplog.text.count("telemetry failed in parent") == 1
    await prove(base, spans())


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_broken_metrics_provider(
    metric_reader: InMemoryMetricReader, ledger: Ledger, *, monkeypatch: pytest.MonkeyPatch, caplog, unlogged: None
):
    for instrument in ("_reserve_duration", "_store_duration", "_requests", "_cost", "_estimate_ratio", "_expired"):
        broken = type("Broken", (), {"record": raises, "add": raises})()
        monkeypatch.setattr(ledger.telemetry.metrics, instrument, broken)
    for _ in range(3):
        held = hold("0.10")
        assert (await ledger.reserve(held)).admits
        await ledger.release(held)
        ledger.telemetry.metrics.count_request(status="complete", model="m")
        ledger.telemetry.metrics.count_cost(actual_nanos=1, estimate_nanos=1, model="m")
    assert caplog.text.count("telemetry failed in count_reserve") == 1
    assert caplog.text.count("telemetry failed in count_cost") == 1


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_provider_named_in_the_environment_that_cannot_be_loaded(
    base: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, unlogged: None
):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "no_such_provider")
    held = hold("0.10", context=ledger.telemetry.spans.parent([(b"traceparent", b"x")]))
    assert (await ledger.reserve(held)).admits
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.01")))
    assert await figures(base) == ("0.01", "0.00")


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_an_exporter_that_hangs_delays_nobody(
    base: Store, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    is_asked, may_go_on = threading.Event(), threading.Event()

    class Hanging(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            is_asked.set()
            may_go_on.wait()
            return SpanExportResult.SUCCESS

    batching = BatchSpanProcessor(Hanging(), schedule_delay_millis=1, max_export_batch_size=1)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", with_processor(batching)())
    ledger = open_ledger()
    held = hold("0.10")
    await ledger.reserve(held)
    await asyncio.to_thread(is_asked.wait)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.01")))
    await ledger.drain()
    assert not may_go_on.is_set()
    assert await figures(base) == ("0.01", "0.00")
    may_go_on.set()
    await asyncio.to_thread(batching.shutdown)


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_collector_that_is_not_there_delays_nobody(
    base: Store, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    """The real exporter, which tries again and again; a shutdown waits for it no longer than it says."""
    monkeypatch.setattr(parts, "FLUSH_S", 0.05)
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{free_port()}/v1/traces", timeout=30)
    batching = BatchSpanProcessor(exporter, schedule_delay_millis=1, max_export_batch_size=1)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", with_processor(batching)())
    ledger = open_ledger()
    for _ in range(20):
        held = hold("0.01")
        assert (await ledger.reserve(held)).admits
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.01")))
    async with asyncio.timeout(10):
        await ledger.drain()
    assert await figures(base) == ("0.20", "0.00")
    exporter.shutdown()
    await asyncio.to_thread(batching.shutdown)


async def test_without_a_provider_nothing_is_built(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    assert not has_tracer_provider()
    telemetry = Telemetry()
    telemetry.spans._tracer = type("Spy", (), {"start_span": lambda *_, **__: pytest.fail("a span was built")})()
    ledger, held = open_ledger(telemetry=telemetry), hold("0.60")
    faults.meets("reserve", reply_lost)
    faults.meets("finalize", reply_lost)
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    await ledger.sweep()
    await ledger.drain()
    assert {entry.trace for entry in await whole_journal(base)} == {""}
    assert faults.count("journal") == 1, "by which a loss could be known; nobody is owed a span"


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_provider_that_is_set_later_is_used_from_then_on(
    base: Store, use_provider: UseProvider, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    ledger = open_ledger()
    early, late = hold("0.10"), hold("0.10")
    await ledger.reserve(early)
    spans = use_provider()
    await ledger.reserve(late)
    await ledger.finalize(early, actual=Amounts(usd=1))
    await ledger.finalize(late, actual=Amounts(usd=1))
    assert [span.name for span in spans() if span.name != "budget.counter"] == [
        "budget.reserve",
        "budget.finalize",
        "budget.finalize",
    ]
    assert [len(span.links) for span in spans() if span.name == "budget.finalize"] == [0, 1]


async def test_names_that_no_exporter_could_write(spans: Spans):
    """A lone surrogate is JSON and no UTF-8: every exporter would fail at it, once a request."""
    answer = json_answer({"model": "\ud800", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    guard = BudgetMiddleware(ScriptedApp(*answer), store=MemoryStore(), accounts="team=body:team")
    assert (await call(guard, {"model": "gpt-4o", "team": "\ud800"})).status == 200
    assert (await call(guard, {"model": "\udfff", "team": "\ud800"})).status == 200
    await guard.ledger.drain()
    told = [span.attributes or {} for span in spans()]
    assert [each["gen_ai.response.model"] for each in told if "gen_ai.response.model" in each] == [r"\ud800"] * 2
    assert r"\udfff" in {each.get("gen_ai.request.model") for each in told}
    for value in (value for each in told for value in each.values()):
        str(value).encode()


@pytest.mark.parametrize("base", ["memory"], indirect=True)
@pytest.mark.parametrize("variable", ["OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER"])
async def test_a_gateway_starts_with_a_provider_that_cannot_be_loaded(
    base: Store, *, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unlogged: None, variable: str
):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER", None)
    monkeypatch.setenv(variable, "no_such_provider")
    app = BudgetMiddleware(ScriptedApp(*json_answer({})), limits="key=1/day", store=base)
    body = {"model": "gpt-4o", "messages": [], "max_tokens": 10}
    for _ in range(3):
        assert (await call(app, body, headers={"authorization": "Bearer k"})).status == 200
    await app.ledger.drain()
    assert caplog.text.count("Failed to load configured provider") == 1
    assert caplog.text.count("requests are not affected") == 1


@pytest.fixture
def _is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    version_of = metadata.version

    def refuse_ours(name: str) -> str:
        if name == "budget-middleware":
            raise metadata.PackageNotFoundError(name)
        return version_of(name)

    monkeypatch.setattr(metadata, "version", refuse_ours)


@pytest.mark.usefixtures("_is_not_installed")
async def test_a_source_tree_that_is_not_installed_has_its_spans(
    spans: Spans, open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture
):
    ledger = open_ledger("key=1/month")
    held = hold("0.60")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")), reason="usage")
    assert "budget.finalize" in {span.name for span in spans()}
    assert caplog.messages == []
