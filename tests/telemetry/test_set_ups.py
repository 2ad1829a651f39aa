"""In every set-up a request has one reserve and one ending, in one trace or linked, below whoever traces the server."""

from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp

from budget_middleware import BudgetMiddleware
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import call
from tests.telemetry.conftest import Spans
from tests.telemetry.proof import id_of, links_of, named, only, prove

CHAT = "/v1/chat/completions"
CHUNKS = 20
CALLER = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
TRACED = {"traceparent": f"00-{CALLER[0]}-{CALLER[1]}-01"}
USAGE = {"prompt_tokens": 9, "completion_tokens": CHUNKS}
QUIET: Any = {"exclude_spans": ["receive", "send"]}


def gateway(*, traces_itself: bool = False) -> FastAPI:
    app = FastAPI(telemetry={"tracing": traces_itself, "metrics": False, "logs": False, "auto_configure": False})

    @app.post(CHAT)
    async def chat(request: Request):
        if not (await request.json()).get("stream"):
            return JSONResponse({"model": "gpt-4o", "choices": [], "usage": USAGE})
        return StreamingResponse(events(), media_type="text/event-stream")

    return app


async def events():
    for _ in range(CHUNKS):
        yield 'data: {"choices": [{"index": 0, "delta": {"content": "word"}}]}\n\n'
    yield f'data: {{"choices": [], "usage": {str(USAGE).replace(chr(39), chr(34))}}}\n\n'
    yield "data: [DONE]\n\n"


class Guards:
    """Makes the guard, as `add_middleware` does too, and knows it afterwards."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.made: list[BudgetMiddleware] = []

    def __call__(self, app: ASGIApp) -> BudgetMiddleware:
        self.made.append(BudgetMiddleware(app, store=self._store, limits="key=1/day"))
        return self.made[-1]


def contrib_outside(guard: Guards) -> ASGIApp:
    return OpenTelemetryMiddleware(guard(gateway()), **QUIET)


def contrib_inside(guard: Guards) -> ASGIApp:
    return guard(OpenTelemetryMiddleware(gateway(), **QUIET))


def contrib_fastapi_first(guard: Guards) -> ASGIApp:
    app = gateway()
    FastAPIInstrumentor.instrument_app(app, **QUIET)
    app.add_middleware(guard)
    return app


def contrib_fastapi_last(guard: Guards) -> ASGIApp:
    app = gateway()
    app.add_middleware(guard)
    FastAPIInstrumentor.instrument_app(app, **QUIET)
    return app


def contrib_and_native(guard: Guards) -> ASGIApp:
    app = gateway(traces_itself=True)
    app.add_middleware(guard)
    FastAPIInstrumentor.instrument_app(app, **QUIET)
    return app


def native(guard: Guards) -> ASGIApp:
    app = gateway(traces_itself=True)
    app.add_middleware(guard)
    return app


def native_inside(guard: Guards) -> ASGIApp:
    return guard(gateway(traces_itself=True))


def nothing(guard: Guards) -> ASGIApp:
    return guard(gateway())


OUTSIDE = (contrib_outside, contrib_fastapi_first, contrib_fastapi_last, contrib_and_native, native)
INSIDE = (contrib_inside, native_inside)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def guards(store: MemoryStore) -> Guards:
    return Guards(store)


async def requested(app: ASGIApp, guards: Guards, headers: dict[str, str], *, stream: bool) -> None:
    body = {"model": "gpt-4o", "messages": [], "max_tokens": 30, "stream": stream}
    asked = await call(app, body, path=CHAT, headers={"authorization": "Bearer sk-1", **headers})
    assert (asked.status, asked.raised) == (200, None)
    (guard,) = guards.made
    await guard.ledger.drain()


async def told(store: MemoryStore, spans: Spans) -> tuple[ReadableSpan, ReadableSpan, list[ReadableSpan]]:
    """The two verbs, the ending linked to the reserve, and the servers' spans, of which a request needs one."""
    await prove(store, [span for span in spans() if span.name.startswith("budget.")])
    reserve, finalize = only(spans(), "budget.reserve"), only(spans(), "budget.finalize")
    assert id_of(reserve) in links_of(finalize)
    assert len(named(spans(), "budget.counter")) == 2
    return reserve, finalize, [span for span in spans() if span.kind is SpanKind.SERVER]


def parent_id(span: ReadableSpan) -> tuple[str, str] | None:
    return span.parent and (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}")


streaming = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
called = pytest.mark.parametrize("headers", [{}, TRACED], ids=["untraced", "traced"])


@streaming
@called
@pytest.mark.parametrize("build", OUTSIDE)
async def test_below_the_servers_span(build, guards: Guards, *, store: MemoryStore, spans: Spans, headers, stream):
    await requested(build(guards), guards, headers, stream=stream)
    reserve, finalize, (server,) = await told(store, spans)
    assert parent_id(server) == (CALLER if headers else None)
    assert parent_id(reserve) == parent_id(finalize) == id_of(server)


@streaming
@called
@pytest.mark.parametrize("build", INSIDE)
async def test_around_the_servers_span(build, guards: Guards, *, store: MemoryStore, spans: Spans, headers, stream):
    """It has not begun when we reserve. The ending hangs below whatever is current when the app sends its last."""
    await requested(build(guards), guards, headers, stream=stream)
    reserve, finalize, (server,) = await told(store, spans)
    assert parent_id(reserve) == parent_id(server) == (CALLER if headers else None)
    assert parent_id(finalize) in {parent_id(reserve), id_of(server)}


@streaming
@called
async def test_where_nobody_traces_the_server(guards: Guards, store: MemoryStore, spans: Spans, headers, stream):
    await requested(nothing(guards), guards, headers, stream=stream)
    reserve, finalize, others = await told(store, spans)
    assert others == []
    assert parent_id(reserve) == parent_id(finalize) == (CALLER if headers else None)


@pytest.mark.parametrize(("options", "spans_of_chunks"), [(QUIET, False), ({}, True)], ids=["excluded", "by default"])
async def test_a_span_a_chunk_is_what_exclude_spans_is_for(
    guards: Guards, store: MemoryStore, spans: Spans, options: Any, spans_of_chunks: bool
):
    app = OpenTelemetryMiddleware(guards(gateway()), **options)
    await requested(app, guards, {}, stream=True)
    await told(store, spans)
    others = [span for span in spans() if not span.name.startswith("budget.")]
    assert (len(others) > CHUNKS) == spans_of_chunks
