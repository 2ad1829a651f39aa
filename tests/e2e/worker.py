"""A gateway as a worker process of a test runs it: guarded by the one line, writing down what it really served.

Each request names in its body what is to happen. The log has a JSON line a request, flushed before the app
returns; the span log has one a change of a counter.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from starlette.types import Receive, Scope, Send

from budget_middleware import BudgetMiddleware
from tests.e2e import plain_asgi

CHUNK = "word"  # Four bytes: a token by the counting rule, and a token by the usage reported here.
# Open as long as the process lives, and written line by line.
SERVED = Path(os.environ["SERVED_LOG"]).open("a", buffering=1)  # noqa: SIM115
SPANS = Path(os.environ["SPAN_LOG"]).open("a", buffering=1) if "SPAN_LOG" in os.environ else None  # noqa: SIM115


class SpanLog(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        assert SPANS is not None
        for span in spans:
            counters = [span] if span.name == "budget.counter" else span.events
            for counter in counters:
                SPANS.write(json.dumps(dict(counter.attributes or {})) + "\n")
        return SpanExportResult.SUCCESS


if SPANS is not None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SpanLog()))
    trace.set_tracer_provider(provider)


async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await plain_asgi.live(receive, send)
        return
    request = json.loads(await _body(receive))
    served = {"play": request["metadata"]["play"], "chunks": 0, "complete": False, "answered": False}
    try:
        await _play(request, served, receive, send)
    finally:
        SERVED.write(json.dumps(served) + "\n")


async def _play(request: dict, served: dict, receive: Receive, send: Send) -> None:
    play, words = served["play"], request["metadata"]["words"]
    if play == "error":
        await plain_asgi.answer(send, {"error": {"message": "upstream failed"}}, status=500)
        return
    if play == "raise":
        raise RuntimeError("the gateway fell over")
    usage = {"prompt_tokens": request["metadata"]["prompt"], "completion_tokens": words}
    if not request.get("stream"):
        message = {"role": "assistant", "content": CHUNK * words}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        served["complete"] = True
        answer = {"id": "c", "object": "chat.completion", "created": 0, "model": request["model"]}
        await plain_asgi.answer(send, {**answer, "choices": choices, "usage": usage})
        return
    await _stream(request, usage, served, receive, send)


async def _stream(request: dict, usage: dict, served: dict, receive: Receive, send: Send) -> None:
    gone = asyncio.create_task(_disconnected(receive))
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for word in range(usage["completion_tokens"]):
        if gone.done():
            return
        if served["play"] == "break" and word == usage["completion_tokens"] // 2:
            gone.cancel()
            raise RuntimeError("upstream broke")
        served["chunks"] += 1
        await send(_event(request, [{"index": 0, "delta": {"content": CHUNK}}]))
        await asyncio.sleep(request["metadata"].get("pause", 0.001))
    if served["play"] == "hang":
        await _hang(cleaning_up_s=request["metadata"]["cleaning_up_s"])
    if request.get("stream_options", {}).get("include_usage"):
        await send(_event(request, [], usage=usage))
    served["complete"] = True
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    gone.cancel()


def _event(request: dict, choices: list, **more: object) -> dict:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}
    data = json.dumps({**chunk, "choices": choices, **more})
    return {"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True}


async def _hang(*, cleaning_up_s: float) -> None:
    """Wait until somebody cancels this, and then take so long to close an upstream's connection, say."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(cleaning_up_s)


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


app = BudgetMiddleware(gateway)
