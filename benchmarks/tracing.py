"""An OpenTelemetry provider as production has it, but for the network: spans are encoded, and dropped there."""

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

_SAMPLERS: dict[str, Sampler] = {
    "off": ALWAYS_OFF,
    "1pct": ParentBased(TraceIdRatioBased(0.01)),
    "all": ALWAYS_ON,
}


class EncodingExporter(SpanExporter):
    """Does the work of an OTLP exporter, up to the bytes."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


def set_provider(share: str) -> None:
    provider = TracerProvider(sampler=_SAMPLERS[share])
    provider.add_span_processor(BatchSpanProcessor(EncodingExporter()))
    trace.set_tracer_provider(provider)
