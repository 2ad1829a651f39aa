"""BUDGET_TRACE_CONTEXT: what a caller's `traceparent` is to the spans of its request."""

from collections.abc import Sequence

import pytest
from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.propagators.textmap import default_getter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from budget_middleware import BudgetMiddleware
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.telemetry.callers import PARENT, context_for
from budget_middleware.testing import ScriptedApp, call
from tests.request.wire import PRICES, ask, bearer, completion
from tests.telemetry.conftest import Spans

CALLERS_TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"
OURS = ("budget.reserve", "budget.finalize")


def traceparent(flags: str) -> dict[str, str]:
    return {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-{flags}"}


@pytest.fixture
def gateway(tmp_path):
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)

    def open_gateway(**settings):
        guard = BudgetMiddleware(ScriptedApp(*completion(100)), store=MemoryStore(), prices=str(prices), **settings)
        assert hasattr(guard, "ledger")
        return guard

    return open_gateway


async def ours_of(spans: Spans, app, **headers: str) -> Sequence[ReadableSpan]:
    assert (await call(app, ask(100), headers={**bearer(), **headers})).status == 200
    return [span for span in spans() if span.name in OURS]


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def trace_of(span: ReadableSpan) -> str:
    return f"{context_of(span).trace_id:032x}"


@pytest.mark.parametrize("flags", ["00", "01"])
@pytest.mark.parametrize("mode", ["parent", "link", "ignore"])
async def test_a_caller_neither_silences_spans_nor_writes_into_a_foreign_trace(spans, gateway, mode, flags):
    ours = await ours_of(spans, gateway(trace_context=mode), **traceparent(flags))
    if mode == "parent":
        # As between services of one owner: the caller's decision and the caller's trace.
        assert [trace_of(span) for span in ours] == ([CALLERS_TRACE] * 2 if flags == "01" else [])
        return
    assert [span.name for span in ours] == list(OURS)
    for span in ours:
        assert span.parent is None
        assert trace_of(span) != CALLERS_TRACE
    links = [f"{link.context.trace_id:032x}" for link in ours[0].links]
    assert links == ([CALLERS_TRACE] if mode == "link" else [])
    # The ending is linked to the reserve span, as always.
    reserve = context_of(ours[0]).span_id
    assert reserve in {link.context.span_id for link in ours[1].links}


@pytest.mark.parametrize("flags", ["00", "01"])
@pytest.mark.parametrize("mode", ["link", "ignore"])
async def test_nor_through_the_span_of_a_server_that_follows_it(spans, gateway, mode, flags):
    app = OpenTelemetryMiddleware(gateway(trace_context=mode), exclude_spans=["receive", "send"])
    ours = await ours_of(spans, app, **traceparent(flags))
    assert [span.name for span in ours] == list(OURS)
    assert all(span.parent is None and trace_of(span) != CALLERS_TRACE for span in ours)
    # The link is to the server's own span, which is nearer than the caller's.
    linked = [link.context for link in ours[0].links]
    assert [f"{context.trace_id:032x}" for context in linked] == ([CALLERS_TRACE] if mode == "link" else [])
    assert all(f"{context.span_id:016x}" != CALLERS_SPAN for context in linked)


@pytest.mark.parametrize("mode", ["parent", "link", "ignore"])
async def test_a_current_span_of_our_own_stays_the_parent(spans, gateway, mode):
    with trace.get_tracer("gateway").start_as_current_span("POST") as current:
        ours = await ours_of(spans, gateway(trace_context=mode), **traceparent("00"))
    assert {span.parent.span_id for span in ours if span.parent} == {current.get_span_context().span_id}
    assert len(ours) == 2


@pytest.mark.parametrize("value", ["", "garbage", "ff-" + CALLERS_TRACE, f"00-{'0' * 32}-{'0' * 16}-01"])
@pytest.mark.parametrize("mode", ["link", "ignore"])
async def test_garbage_is_nothing(spans, gateway, mode, value):
    ours = await ours_of(spans, gateway(trace_context=mode), traceparent=value)
    assert [(span.name, span.parent) for span in ours] == [(name, None) for name in OURS]
    assert not ours[0].links


def test_a_trace_state_in_two_headers_is_one():
    headers = [(name.encode(), value.encode()) for name, value in traceparent("01").items()]
    context = context_for(PARENT, [*headers, (b"tracestate", b"a=1"), (b"tracestate", b"b=2")])
    state = trace.get_current_span(context).get_span_context().trace_state
    assert dict(state.items()) == {"a": "1", "b": "2"}


def test_a_propagator_that_looks_at_all_names_sees_them(request):
    class ByPrefix(TraceContextTextMapPropagator):
        def extract(self, carrier, context=None, getter=default_getter):
            found = {name: getter.get(carrier, name) for name in getter.keys(carrier) if name.startswith("uberctx-")}
            return contexts.set_value("found", found, Context())

    before = propagate.get_global_textmap()
    propagate.set_global_textmap(ByPrefix())
    request.addfinalizer(lambda: propagate.set_global_textmap(before))
    context = context_for(PARENT, [(b"host", b"x"), (b"uberctx-user", b"7"), (b"uberctx-user", b"8")])
    assert contexts.get_value("found", context) == {"uberctx-user": ["7", "8"]}
