"""Where a request's spans hang: the current span, else the context in its headers, else nowhere."""

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.telemetry import NO_PROVIDER, Telemetry
from budget_middleware.testing import MovableClock
from tests.ledger.conftest import drain, hold, nanos
from tests.ledger.faults import FaultyStore, reply_lost
from tests.telemetry.conftest import Spans
from tests.telemetry.proof import attribute, named, only, prove

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = (b"traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01".encode())

Headers = list[tuple[bytes, bytes]]


async def requested(ledger: Ledger, headers: Headers) -> Hold:
    held = hold("0.10", context=ledger.telemetry.spans.parent(headers))
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.01")))
    return held


def parents(spans: Spans) -> set[tuple[int, int] | None]:
    verbs = [span for span in spans() if span.name in ("budget.reserve", "budget.finalize")]
    assert len(verbs) == 2
    return {(span.parent.trace_id, span.parent.span_id) if span.parent else None for span in verbs}


async def test_the_current_span_first(base: Store, spans: Spans, ledger: Ledger):
    with trace.get_tracer("gateway").start_as_current_span("POST") as current:
        await requested(ledger, [TRACEPARENT])
    context = current.get_span_context()
    assert parents(spans) == {(context.trace_id, context.span_id)}
    await prove(base, spans())


async def test_else_the_headers_of_the_request(base: Store, spans: Spans, ledger: Ledger):
    await requested(ledger, [(b"host", b"x"), TRACEPARENT])
    assert parents(spans) == {(int(TRACE_ID, 16), 0xB7AD6B7169203331)}
    await prove(base, spans())


GARBAGE: list[Headers] = [
    [],
    [(b"traceparent", b"garbage")],
    [(b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")],
    [(b"traceparent", b"ff-" + TRACE_ID.encode() + b"-b7ad6b7169203331-01")],
    [(b"traceparent", b"\xff\xfe\x00" * 40)],
    [(b"traceparent", b"00-" + b"z" * 1_000_000)],
    [(b"tracestate", b"a=b," * 100_000), (b"traceparent", b"")],
    [(b"baggage", b"k=" + b"v" * 1_000_000)],
    [(b"baggage", b",".join(b"k%d=%%zz" % at for at in range(50_000)))],
    [(b"\xff", b"\xff"), (b"", b"")],
]


@pytest.mark.parametrize("headers", GARBAGE, ids=range(len(GARBAGE)))
async def test_else_a_root_whatever_the_headers_hold(base: Store, spans: Spans, ledger: Ledger, headers: Headers):
    await requested(ledger, headers)
    assert parents(spans) == {None}
    await prove(base, spans())


async def test_unsampled_by_the_caller_is_unsampled_here(base: Store, spans: Spans, ledger: Ledger):
    held = await requested(ledger, [(b"traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-00".encode())])
    assert spans() == ()
    assert held.reserve_trace.startswith(f"00-{TRACE_ID}-")
    assert held.reserve_trace.endswith("-00")


def root_of(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}"


async def test_what_heartbeats_expire_is_not_the_first_requests(
    base: Store, clock: MovableClock, spans: Spans, ledger: Ledger
):
    """The task that beats was begun by a request, and outlives it by days."""
    swept = asyncio.Event()

    async def sweep() -> None:
        await ledger.sweep()
        swept.set()

    ledger._leases._every_s = 0
    ledger._leases._sweep = sweep
    with trace.get_tracer("gateway").start_as_current_span("POST"):
        orphan = hold("0.10")
        await ledger.reserve(orphan)
    ledger._leases.drop(orphan)
    clock.advance(s=61)
    swept.clear()
    await swept.wait()
    swept.clear()
    await swept.wait()
    assert only(spans(), "budget.expire").parent is None
    await prove(base, spans())


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_what_is_sent_again_hangs_under_nobody_elses_request(
    faults: FaultyStore, clock: MovableClock, spans: Spans, ledger: Ledger
):
    for current in ("first", "second"):
        with trace.get_tracer("gateway").start_as_current_span(current):
            held = hold("0.10")
            await ledger.reserve(held)
            await ledger.finalize(held, actual=Amounts(usd=nanos("0.01")))
            if current == "first":
                faults.inner = MemoryStore(clock_ms=clock)
    await ledger.drain()
    (replayed,) = [span for span in spans() if attribute(span, "budget.reason") == "replayed"]
    assert replayed.parent is None
    assert len(replayed.links) == 1


async def test_what_is_told_late_hangs_where_it_belongs(base: Store, faults: FaultyStore, spans: Spans, ledger: Ledger):
    tracer = trace.get_tracer("gateway")
    faults.always["reserve"] = reply_lost
    with tracer.start_as_current_span("first"):
        asking = asyncio.create_task(ledger.reserve(hold("0.10")))
        await asyncio.sleep(0)
    faults.always.clear()
    with tracer.start_as_current_span("second"):
        await ledger.reserve(hold("0.20"))
    await asking
    await drain(ledger)
    await prove(base, [span for span in spans() if span.name.startswith("budget.")])
    first = only(spans(), "first")
    under_first = [span for span in named(spans(), "budget.counter") if root_of(span) == root_of(first)]
    assert [attribute(span, "budget.reserved.delta_usd") for span in under_first] == [0.1]


def test_without_a_provider_headers_are_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    assert Telemetry().spans.parent(iter(lambda: pytest.fail("read"), None)) is NO_PROVIDER
