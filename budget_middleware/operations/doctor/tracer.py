"""Checks whether spans are exported, and whether they can hold what BUDGET_SPANS puts on them."""

from collections.abc import Mapping

from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.setting_types import SpansPer
from budget_middleware.telemetry import EVENTS_MAX, has_tracer_provider

EVENT_LIMIT = "OTEL_SPAN_EVENT_COUNT_LIMIT"
"""The SDK's own variable: a span keeps so many events, 128 without it, and drops the oldest of more."""

_MESSAGES = {
    SpansPer.COUNTER: "BUDGET_SPANS=counter: one span for each change of a counter",
    SpansPer.VERB: "BUDGET_SPANS=verb: one span for each verb, changes of counters are its events",
}


def tracer_finding(spans: SpansPer, environment: Mapping[str, str]) -> Finding:
    """Of this process: run the command as the gateway is run."""
    if not has_tracer_provider():
        return Finding(
            "tracer",
            Health.WARN,
            "no tracer provider: spans go nowhere",
            "pip install 'budget-middleware[otlp]' and run under opentelemetry-instrument, with OTEL_SERVICE_NAME,"
            " OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf set",
        )
    limit = environment.get(EVENT_LIMIT, "").strip()
    if spans is SpansPer.VERB and limit.isdecimal() and int(limit) < EVENTS_MAX:
        message = (
            f"BUDGET_SPANS=verb, but {EVENT_LIMIT}={limit}: a span that changes more counters loses the first ones"
        )
        return Finding(
            "tracer", Health.WARN, message, f"leave {EVENT_LIMIT} at its default of 128, at least {EVENTS_MAX}"
        )
    return Finding("tracer", Health.OK, f"a tracer provider is set; {_MESSAGES[spans]}")
