"""The only package that knows OpenTelemetry (its API, never an SDK). It never breaks or delays a request."""

from budget_middleware.telemetry.callers import PARENT
from budget_middleware.telemetry.counter_changes import EVENTS_KEPT, PER_COUNTER
from budget_middleware.telemetry.gauges import Gauges, HistoryGauges
from budget_middleware.telemetry.metrics import Metrics
from budget_middleware.telemetry.names import LazyAttributes
from budget_middleware.telemetry.providers import has_tracer_provider
from budget_middleware.telemetry.spans import NO_PROVIDER, SILENT, ParentContext, Spans, VerbSpan

__all__ = [
    "EVENTS_KEPT",
    "NO_PROVIDER",
    "SILENT",
    "Gauges",
    "HistoryGauges",
    "LazyAttributes",
    "ParentContext",
    "Telemetry",
    "VerbSpan",
    "has_tracer_provider",
]


class Telemetry:
    """The telemetry of one ledger: its spans and metrics."""

    def __init__(self, *, trace_context: str = PARENT, spans: str = PER_COUNTER) -> None:
        self.metrics = Metrics()
        # Whether alerts are logged and counted once for all workers, by whichever follows the journal.
        self.has_follower = False
        self.spans = Spans(self.metrics, trace_context=trace_context, spans=spans)
