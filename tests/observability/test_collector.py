"""The tail sampler of `collector.yaml` in a real collector: what asks a question is kept, the rest is thinned out."""

import asyncio
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.telemetry import gauges
from budget_middleware.testing import MovableClock
from tests.e2e.servers import REPOSITORY, free_port, wait_for_port
from tests.ledger.conftest import hold, nanos
from tests.observability.prometheus import EXAMPLES, WAITS, running_prometheus, told_names
from tests.observability.span_receiver import Receiver, receiving

pytestmark = [pytest.mark.observability, pytest.mark.processes, pytest.mark.timeout(120)]

BINARY = REPOSITORY / "build" / "collector"
ORDINARY = 400
OPEN_METRICS = {"accept": "application/openmetrics-text; version=1.0.0"}
SERVER_SPAN = "POST /v1/chat/completions"
_PATIENCE_S = 60


@contextmanager
def running_collector(folder: Path, *, sends_to: str) -> Iterator[tuple[str, int]]:
    """The example's collector, which decides a second after the root span instead of five; where it takes OTLP, and
    the port at which it shows metrics.
    """
    if not BINARY.exists():
        pytest.fail("there is no build/collector: make observability-tools (needs Go)", pytrace=False)
    text = (EXAMPLES / "collector.yaml").read_text()
    assert "root_received: 5s" in text
    config, log = folder / "collector.yaml", folder / "collector.log"
    port, metrics_port = free_port(), free_port()
    config.write_text(text.replace("root_received: 5s", "root_received: 1s") + _OWN_METRICS_OFF)
    own = {
        "OTLP_ENDPOINT": f"127.0.0.1:{port}",
        "JAEGER_ENDPOINT": sends_to,
        "PROMETHEUS_ENDPOINT": f"127.0.0.1:{metrics_port}",
    }
    env = {**os.environ, **own}
    with log.open("wb") as output:
        process = subprocess.Popen([BINARY, f"--config={config}"], env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for_port(port, process, log)
        yield f"http://127.0.0.1:{port}", metrics_port
    finally:
        process.terminate()
        process.wait()


# Else it listens at port 8888, which may be somebody's.
_OWN_METRICS_OFF = "  telemetry: {metrics: {level: none}}\n"


class Gateway:
    """A ledger in a process that sends its spans to a collector, when it is told to and not before."""

    def __init__(self, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
        self.provider.add_span_processor(BatchSpanProcessor(exporter, 50_000, 600_000, max_export_batch_size=50_000))
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", self.provider)
        self.clock = MovableClock()
        self.ledger = Ledger(MemoryStore(clock_ms=self.clock), limits=parse_limits("key=1/total"), lease_ms=60_000)
        self._tracer = self.provider.get_tracer("server")

    @contextmanager
    def request(self) -> Iterator[str]:
        """A server's span, as the root of a trace; its id."""
        with self._tracer.start_as_current_span(SERVER_SPAN, context=Context()) as span:
            yield f"{span.get_span_context().trace_id:032x}"

    async def pay(self, held: Hold) -> None:
        assert (await self.ledger.reserve(held)).admits
        await self.ledger.finalize(held, actual=Amounts(usd=nanos("0.0001")))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def gateway(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    with running_collector(tmp_path, sends_to=receiver.url) as (endpoint, _):
        gateway = Gateway(endpoint, monkeypatch)
        yield gateway
        gateway.provider.shutdown()


async def test_errors_refusals_and_operators_are_kept_whole_and_little_else(gateway: Gateway, receiver: Receiver):
    ledger, of, ordinary = gateway.ledger, dict[str, str](), set[str]()
    for _ in range(ORDINARY):
        with gateway.request() as trace_id:
            await gateway.pay(hold("0.001"))
            ordinary.add(trace_id)
    with gateway.request() as of["rejected"]:
        assert not (await ledger.reserve(hold("2.00"))).admits
    with gateway.request() as of["unreserved"]:
        await ledger.finalize(hold("0.01", key="b"), actual=Amounts(usd=1))
    with gateway.request() as of["adjusted"]:
        await ledger.adjust(await ledger.claims({"key": "a"}, model=""), amount=Amounts(usd=1), reason="x")
    with gateway.request() as orphaned:
        await ledger.reserve(hold("0.10"))
    gateway.clock.advance(s=61)
    with gateway.request() as of["expired"]:
        await ledger.sweep()
    await ledger.drain()
    gateway.provider.force_flush()
    await _until_kept(of, receiver)
    # One in a hundred: 25 of 400 or more would be one chance in 10^12.
    assert len((ordinary | {orphaned}) & receiver.trace_ids()) < 25
    for trace_id in of.values():
        assert SERVER_SPAN in receiver.names(trace_id), "kept whole, with the server's own span"


async def test_a_request_that_outlives_its_lease_is_kept_from_its_beginning(gateway: Gateway, receiver: Receiver):
    """Its error comes long after its first span, and after others have been decided."""
    late, of = hold("0.10"), dict[str, str]()
    with gateway.request() as of["late"]:
        await gateway.ledger.reserve(late)
        with gateway.request() as refused:
            assert not (await gateway.ledger.reserve(hold("2.00"))).admits
        gateway.provider.force_flush()
        await _until_kept({"refused meanwhile": refused}, receiver)
        gateway.clock.advance(s=61)
        await gateway.ledger.finalize(late, actual=Amounts(usd=nanos("0.01")))
    gateway.provider.force_flush()
    await _until_kept(of, receiver)
    assert {"budget.reserve", "budget.counter", "budget.finalize", SERVER_SPAN} <= receiver.names(of["late"])


async def _until_kept(of: dict[str, str], receiver: Receiver) -> None:
    until = time.monotonic() + _PATIENCE_S
    while lost := {name for name, trace_id in of.items() if trace_id not in receiver.trace_ids()}:
        assert time.monotonic() < until, f"not kept: {lost}"
        await asyncio.sleep(0.1)


async def test_metrics_have_the_same_names_by_way_of_a_collector_and_bring_exemplars(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], Resource.create({"service.instance.id": "w1"}), shutdown_on_exit=False)
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER", meters)
    monkeypatch.setattr(gauges, "_observed", [])
    with (
        running_collector(tmp_path, sends_to=receiver.url) as (endpoint, port),
        running_prometheus(tmp_path, ports=[port]) as prometheus,
    ):
        gateway, held = Gateway(endpoint, monkeypatch), hold("0.10")
        await gateway.ledger.reserve(held)
        await gateway.ledger.sweep()
        gateway.ledger.telemetry.metrics.count_request(status="complete", model="other")
        gateway.ledger.telemetry.metrics.count_cost(actual_nanos=1, estimate_nanos=2, model="other")
        gateway.ledger.telemetry.metrics.count_wait(seconds=1, end="admitted", context=None)
        data = reader.get_metrics_data()
        assert data is not None
        OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics").export(data)
        prometheus.wait_for('sum(budget_reserved{instance="w1"})', at_least=0.1)
        for name in told_names() | {WAITS}:
            assert prometheus.query(name) or prometheus.query(f"{name}_count"), name
        asking = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=OPEN_METRICS)
        with urllib.request.urlopen(asking) as answer:
            shown = answer.read().decode()
        assert f'trace_id="{held.reserve_trace.split("-")[1]}"' in shown
        await gateway.ledger.drain()
        gateway.provider.shutdown()
    meters.shutdown()


def test_the_pages_rule_is_that_of_the_file():
    page = (REPOSITORY / "docs" / "observability.md").read_text()
    [block] = re.findall(r"^```yaml\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    lines = [line.partition(" #")[0].rstrip() for line in block.splitlines()]
    file = [line.partition(" #")[0].rstrip() for line in (EXAMPLES / "collector.yaml").read_text().splitlines()]
    told = [line for line in lines if line.strip()]
    assert [line for line in file if line in told][: len(told)] == told
