"""One way of tracing in a process of its own: prints the CPU time of its requests as JSON. `spans` runs it by its path.

There is no HTTP and no store's server, so that all of the CPU time is the process's own. Every trace is sampled, the
queue is so long that no span is dropped, and what is measured ends when the last span has been exported.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
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


def main() -> None:
    """`python traced.py none|counter|verb nowhere|otlp|budget_otlp REQUESTS VISITS`."""
    logging.disable()  # It says that memory:// is one process's own.
    spans, exporter, requests, visits = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    provider = None
    if spans != "none":
        os.environ["BUDGET_SPANS"] = spans
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_exporter(exporter), 1 << 20))
        trace.set_tracer_provider(provider)
    print(json.dumps(asyncio.run(_visit(provider, requests, visits))))


async def _visit(provider: TracerProvider | None, requests: int, visits: int) -> list[float]:
    """Microseconds of CPU time a request, of each visit."""
    from budget_middleware import BudgetMiddleware

    guarded = BudgetMiddleware(bare, store_url="memory://", **settings_for(3))
    found: list[float] = []
    for number in range(visits + 1):
        before_s = time.process_time()
        rest = iter(range(requests))

        async def one(rest: object = rest) -> None:
            for _ in rest:  # type: ignore[attr-defined]
                await _ask(guarded)

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
