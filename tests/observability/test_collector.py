"""The tail sampler of `collector.yaml` in a real collector: what asks a question is kept, the rest is thinned out."""

import asyncio
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from budget_middleware.core.limits import parse_limits
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.stores.memory import MemoryStore
from budget_middleware.testing import MovableClock
from tests.e2e.servers import REPOSITORY, free_port, wait_for_port
from tests.ledger.conftest import hold, nanos
from tests.observability.otlp import Receiver, receiving
from tests.observability.prometheus import EXAMPLES

pytestmark = [pytest.mark.observability, pytest.mark.processes, pytest.mark.timeout(120)]

BINARY = REPOSITORY / "build" / "collector"
ORDINARY = 400
_PATIENCE_S = 60


@contextmanager
def running_collector(folder: Path, *, sends_to: str) -> Iterator[str]:
    """The example's collector, which decides after a second instead of thirty."""
    if not BINARY.exists():
        pytest.fail("there is no build/collector: make observability-tools (needs Go)", pytrace=False)
    text = (EXAMPLES / "collector.yaml").read_text()
    assert "decision_wait: 30s" in text
    config, log, port = folder / "collector.yaml", folder / "collector.log", free_port()
    config.write_text(text.replace("decision_wait: 30s", "decision_wait: 1s") + _OWN_METRICS_OFF)
    env = {**os.environ, "OTLP_ENDPOINT": f"127.0.0.1:{port}", "JAEGER_ENDPOINT": sends_to}
    with log.open("wb") as output:
        process = subprocess.Popen([BINARY, f"--config={config}"], env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for_port(port, process, log)
        yield f"http://127.0.0.1:{port}/v1/traces"
    finally:
        process.terminate()
        process.wait()


# Else it listens at port 8888, which may be somebody's.
_OWN_METRICS_OFF = "  telemetry: {metrics: {level: none}}\n"


@dataclass
class Sent:
    """Trace ids by what became of their reservation, as hexadecimal digits."""

    of: dict[str, str]
    ordinary: set[str]
    receiver: Receiver


@pytest.fixture
async def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sent]:
    with receiving() as receiver, running_collector(tmp_path, sends_to=receiver.url) as endpoint:
        provider = TracerProvider(shutdown_on_exit=False)
        # All at once in the end: the collector's second is not for how long this takes.
        exporter = OTLPSpanExporter(endpoint=endpoint)
        provider.add_span_processor(BatchSpanProcessor(exporter, 50_000, 600_000, max_export_batch_size=50_000))
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        of, ordinary = await _happen(provider.get_tracer("server"))
        provider.shutdown()
        assert of.keys() | {"ordinary"} == WANTED
        yield Sent(of, ordinary, receiver)


WANTED = {"ordinary", "rejected", "late", "expired", "unreserved", "adjusted"}


async def _happen(tracer: trace.Tracer) -> tuple[dict[str, str], set[str]]:
    clock = MovableClock()
    ledger = Ledger(MemoryStore(clock_ms=clock), limits=parse_limits("key=1/total"), lease_ms=60_000)
    of, ordinary = {}, set()

    @contextmanager
    def request() -> Iterator[str]:
        with tracer.start_as_current_span("POST /v1/chat/completions", context=Context()) as span:
            yield f"{span.get_span_context().trace_id:032x}"

    for _ in range(ORDINARY):
        with request() as trace_id:
            await _pay(ledger, hold("0.001"))
            ordinary.add(trace_id)
    with request() as of["rejected"]:
        assert not (await ledger.reserve(hold("2.00"))).admits
    with request() as of["unreserved"]:
        await ledger.finalize(hold("0.01", key="b"), actual_nanos=1)
    with request() as of["adjusted"]:
        await ledger.adjust(await ledger.claims({"key": "a"}, model=""), amount_nanos=1, reason="x")
    with request() as of["late"]:
        late = hold("0.10")
        await ledger.reserve(late)
        clock.advance(s=61)
        with request() as of["expired"]:
            await ledger.sweep()
        await ledger.finalize(late, actual_nanos=nanos("0.01"))
    await ledger.drain()
    return of, ordinary


async def _pay(ledger: Ledger, held: Hold) -> None:
    assert (await ledger.reserve(held)).admits
    await ledger.finalize(held, actual_nanos=nanos("0.0001"))


async def test_errors_refusals_and_operators_are_kept_whole_and_little_else(sent: Sent):
    receiver = sent.receiver
    until = time.monotonic() + _PATIENCE_S
    while not set(sent.of.values()) <= receiver.trace_ids():
        lost = {name for name, trace_id in sent.of.items() if trace_id not in receiver.trace_ids()}
        assert time.monotonic() < until, f"not kept: {lost}"
        await asyncio.sleep(0.1)
    kept = sent.ordinary & receiver.trace_ids()
    # One in a hundred: 25 of 400 or more would be one chance in 10^12.
    assert len(kept) < 25
    for name, trace_id in sent.of.items():
        names = {span.name for span in receiver.spans if span.trace_id.hex() == trace_id}
        assert "POST /v1/chat/completions" in names, f"{name}: kept whole, with the server's own span"
    late = {span.name for span in receiver.spans if span.trace_id.hex() == sent.of["late"]}
    assert {"budget.reserve", "budget.finalize", "budget.counter"} <= late


def test_the_pages_rule_is_that_of_the_file():
    page = (REPOSITORY / "docs" / "observability.md").read_text()
    [block] = re.findall(r"^```yaml\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    lines = [line.partition(" #")[0].rstrip() for line in block.splitlines()]
    file = [line.partition(" #")[0].rstrip() for line in (EXAMPLES / "collector.yaml").read_text().splitlines()]
    told = [line for line in lines if line.strip()]
    assert [line for line in file if line in told][: len(told)] == told
