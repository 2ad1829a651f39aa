"""One way of tracing in a process of its own: prints the CPU time of its requests as JSON. `spans` runs it by its path.

There is no HTTP and no store's server, so that all of the CPU time is the process's own. Every trace is sampled, the
queue is so long that no span is dropped, and what is measured ends when the last span has been exported.

The SDK alone (`sdk`) is the floor: the guard has no provider, and after each request an SDK's tracer makes the spans
that a guard would have made, from what another process has recorded, with all of their attributes given at once.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext
from starlette.types import Message, Scope

from benchmarks.answers import CHAT, PATH
from benchmarks.apps import bare
from benchmarks.kinds import settings_for

IN_FLIGHT = 32
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in CHAT.headers.items()]
_SCOPE = {"type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(), "query_string": b""}


class Exporter(SpanExporter):
    """The work of an OTLP exporter up to the bytes."""

    def __init__(self, encode: Callable[[Sequence[ReadableSpan]], Any]) -> None:
        self._encode = encode

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._encode(spans)
        return SpanExportResult.SUCCESS


def _exporter(name: str) -> Exporter:
    if name == "nowhere":
        return Exporter(len)
    if name == "otlp":
        return Exporter(lambda spans: encode_spans(spans).SerializePartialToString())
    # Other checkouts may not have it.
    from budget_middleware.telemetry.otlp_exporter import encode

    return Exporter(lambda spans: encode(spans).SerializePartialToString())


class Recorded(NamedTuple):
    """A span of a request: its name, attributes, links and events, and the spans below it."""

    name: str
    attributes: dict[str, Any]
    n_links: int
    events: list[tuple[str, dict[str, Any]]]
    below: list[tuple[str, dict[str, Any]]]


def main() -> None:
    """`python traced.py guard|sdk none|counter|verb nowhere|otlp|budget_otlp REQUESTS VISITS`, or `record SPANS`."""
    logging.disable()  # It says that memory:// is one process's own.
    who, spans = sys.argv[1:3]
    if who == "record":
        print(json.dumps(asyncio.run(_record(spans))))
        return
    exporter, requests, visits = sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    provider, make = None, None
    if spans != "none":
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_exporter(exporter), 1 << 20))
        if who == "sdk":
            make = _maker(provider, spans)
        else:
            os.environ["BUDGET_SPANS"] = spans
            trace.set_tracer_provider(provider)
    print(json.dumps(asyncio.run(_visit(provider, requests, visits, make=make))))


async def _record(spans: str) -> list[Recorded]:
    """The spans of one request."""
    os.environ["BUDGET_SPANS"] = spans
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    guarded = _guarded()
    await _ask(guarded)
    exporter.clear()
    await _ask(guarded)
    made = exporter.get_finished_spans()
    await guarded.ledger.drain()
    return [
        Recorded(
            verb.name,
            dict(verb.attributes or {}),
            len(verb.links),
            [(event.name, dict(event.attributes or {})) for event in verb.events],
            [
                (span.name, dict(span.attributes or {}))
                for span in made
                if span.parent is not None and span.parent.span_id == verb.context.span_id
            ],
        )
        for verb in made
        if verb.parent is None
    ]


def _maker(provider: TracerProvider, spans: str) -> Callable[[], None]:
    """Makes the spans of one request, by the SDK alone."""
    printed = subprocess.run([sys.executable, __file__, "record", spans], check=True, capture_output=True).stdout
    verbs, tracer = [Recorded(*each) for each in json.loads(printed)], provider.get_tracer("benchmarks")
    link = Link(SpanContext(1, 2, is_remote=True))

    def make() -> None:
        for verb in verbs:
            started_ns = time.time_ns()
            links = [link] * verb.n_links
            span = tracer.start_span(verb.name, attributes=verb.attributes, links=links, start_time=started_ns)
            ended_ns = time.time_ns()
            for name, attributes in verb.events:
                span.add_event(name, attributes, ended_ns)
            context = trace.set_span_in_context(span)
            for name, attributes in verb.below:
                below = tracer.start_span(name, context=context, attributes=attributes, start_time=started_ns)
                below.end(ended_ns)
            span.end()

    return make


def _guarded() -> Any:
    # Not before the environment is set.
    from budget_middleware import BudgetMiddleware

    return BudgetMiddleware(bare, store_url="memory://", **settings_for(3))


async def _visit(
    provider: TracerProvider | None, requests: int, visits: int, *, make: Callable[[], None] | None = None
) -> list[float]:
    """Microseconds of CPU time a request, of each visit."""
    guarded = _guarded()
    found: list[float] = []
    for number in range(visits + 1):
        before_s = time.process_time()
        rest = iter(range(requests))

        async def one(rest: object = rest) -> None:
            for _ in rest:  # type: ignore[attr-defined]
                await _ask(guarded)
                if make is not None:
                    make()

        await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))
        if provider is not None:
            provider.force_flush()
        if number:  # The first one warms up.
            found.append(1e6 * (time.process_time() - before_s) / requests)
    await guarded.ledger.drain()
    return found


async def _ask(guarded: object) -> None:
    body = [{"type": "http.request", "body": CHAT.body.encode(), "more_body": False}]

    async def receive() -> Message:
        return body.pop() if body else await asyncio.Future()

    async def send(message: Message) -> None:
        if message.get("status", 200) != 200:
            sys.exit(f"a request was answered {message['status']}: the figures would mean nothing")

    scope: Scope = {**_SCOPE, "headers": _HEADERS}
    await guarded(scope, receive, send)  # type: ignore[operator]


if __name__ == "__main__":
    main()
