"""An OpenTelemetry provider as production has it, but for the network: spans are encoded, and dropped there."""

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from budget_middleware.telemetry.otlp_exporter import encode

_SAMPLERS: dict[str, Sampler] = {
    "off": ALWAYS_OFF,
    "1pct": ParentBased(TraceIdRatioBased(0.01)),
    "all": ALWAYS_ON,
    "lean": ALWAYS_ON,
    "verb": ALWAYS_ON,
}
_LEAN = frozenset({"lean", "verb"})
"""Those that are exported as by `budget_otlp`."""


class EncodingExporter(SpanExporter):
    """Does the work of an OTLP exporter, up to the bytes."""

    def __init__(self, encode: Callable[[Sequence[ReadableSpan]], Any]) -> None:
        self._encode = encode

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._encode(spans).SerializePartialToString()
        return SpanExportResult.SUCCESS


def set_provider(share: str) -> None:
    provider = TracerProvider(sampler=_SAMPLERS[share])
    provider.add_span_processor(BatchSpanProcessor(EncodingExporter(encode if share in _LEAN else encode_spans)))
    trace.set_tracer_provider(provider)
