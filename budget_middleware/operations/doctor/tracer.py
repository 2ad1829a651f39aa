"""Checks whether spans are exported, and whether the SDK's limits let them hold what is put on them."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from budget_middleware.ledger.expiries import SWEPT_AT_ONCE
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.setting_types import SpansPer
from budget_middleware.telemetry import EVENTS_KEPT, has_tracer_provider


class _Limit(NamedTuple):
    """A variable of the SDK's own; what it leaves out where it is below ``least``."""

    variable: str
    least: int
    lost: str
    is_of_events: bool = False


_FIRST_ATTRIBUTES: Final = "spans lose their first attributes, such as budget.account"
_CUT: Final = "longer accounts are cut, and no search for one finds it"
_LIMITS: Final = (
    _Limit("OTEL_SPAN_EVENT_COUNT_LIMIT", EVENTS_KEPT, "a span that changes more counters loses the first", True),
    _Limit("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", 32, "changes lose their first attributes, such as budget.account", True),
    _Limit("OTEL_SPAN_LINK_COUNT_LIMIT", SWEPT_AT_ONCE, "a sweep of more leases loses links to their reserves"),
    # A finalize has one for each class of its usage.
    _Limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 64, _FIRST_ATTRIBUTES),
    _Limit("OTEL_ATTRIBUTE_COUNT_LIMIT", 64, _FIRST_ATTRIBUTES),
    _Limit("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", 300, _CUT),
    _Limit("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 300, _CUT),
)

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
    for variable, least, lost, is_of_events in _LIMITS:
        limit = environment.get(variable, "").strip()
        if limit.isdecimal() and int(limit) < least and (spans is SpansPer.VERB or not is_of_events):
            message = f"BUDGET_SPANS={spans}, but {variable}={limit}: {lost}"
            return Finding("tracer", Health.WARN, message, f"leave {variable} at its default, or at least {least}")
    return Finding("tracer", Health.OK, f"a tracer provider is set; {_MESSAGES[spans]}")
