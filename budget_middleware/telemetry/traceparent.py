"""The text by which one span is named in the journal and in headers (W3C Trace Context)."""

from collections.abc import Iterable, Mapping

from opentelemetry.trace import Link, SpanContext, TraceFlags


def traceparent_of(context: SpanContext) -> str:
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_ids(traceparent: str) -> tuple[str, str]:
    """Trace and span id of a traceparent, both empty where there is none."""
    parts = traceparent.split("-")
    return (parts[1], parts[2]) if len(parts) == 4 else ("", "")


def log_ids(reservation_id: str, traceparent: str) -> Mapping[str, str]:
    """The ``extra`` of a log record about one reservation: its id, and its span."""
    trace_id, span_id = trace_ids(traceparent)
    # Names of our own: `logging` raises if a factory has set a field of that name already, as many do `trace_id`.
    return {"budget_reservation_id": reservation_id, "budget_trace_id": trace_id, "budget_span_id": span_id}


def is_sampled(traceparent: str) -> bool:
    """Whether the span of a traceparent was meant to be exported."""
    flags = traceparent.rpartition("-")[2]
    return flags.isalnum() and int(flags, 16) & TraceFlags.SAMPLED != 0


def links_to(traceparents: Iterable[str]) -> list[Link]:
    links = []
    for traceparent in traceparents:
        parts = traceparent.split("-")
        if len(parts) == 4:
            context = SpanContext(
                int(parts[1], 16),
                int(parts[2], 16),
                is_remote=True,
                trace_flags=TraceFlags(int(parts[3], 16)),
            )
            links.append(Link(context))
    return links
