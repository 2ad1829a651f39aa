"""BUDGET_SPANS: records changes of counters as spans of their own, or as events of the verb's span.

`counter`: each change is a span of its own below its verb's span. `verb`: each change is an event of the verb's span,
under the same name and with the same attributes. An event has no ids, no parent and no end, is not shown to a sampler
and does not pass the span processors, so it costs a fraction of a span.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from budget_middleware.core.answers import Entry
from budget_middleware.telemetry import names
from budget_middleware.telemetry.names import counter_attributes

_NAME: Final = names.COUNTER_SPAN
# Python 3.11 takes ten times as long to find the member of an enum as a global.
_INTERNAL: Final = SpanKind.INTERNAL

PER_COUNTER: Final = "counter"
PER_VERB: Final = "verb"

EVENTS_KEPT: Final = 128
"""So many events of a span an SDK keeps by default; further ones push out the oldest."""
EVENTS_MAX: Final = 100
"""So many of them may be changes of counters,"""
LIMIT_EVENTS_MAX: Final = EVENTS_KEPT - EVENTS_MAX
"""and so many limits that were passed, and alerts: neither pushes out the other."""


class Written(NamedTuple):
    """Journal entries that one call wrote, the span of its verb, and the call's times.

    ``n_before`` entries of the same span were recorded before.
    """

    verb: Span
    entries: Sequence[Entry]
    started_ns: int
    ended_ns: int
    n_before: int = 0


class CounterChanges(Protocol):
    """Records each entry once, below the span of its verb or on it."""

    def record(self, written: Written) -> None: ...


class CounterSpans:
    """A span for each change, with the times of the call that made it."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def record(self, written: Written) -> None:
        """Works for verbs whose span has ended, too."""
        verb, entries, started_ns, ended_ns, _ = written
        start_span, parent, name, errors = self._tracer.start_span, trace.set_span_in_context(verb), _NAME, names.ERRORS
        for entry in entries:
            attributes = counter_attributes(entry)
            span = start_span(name, context=parent, kind=_INTERNAL, attributes=attributes, start_time=started_ns)
            if entry.status in errors:
                span.set_status(StatusCode.ERROR, str(entry.status))
            span.end(ended_ns)


class CounterEvents:
    """An event for each change.

    Two kinds of changes are recorded as spans all the same, so that none is lost: those that become known only when
    the verb's span has ended (its answer was lost, and the journal showed them later), and those beyond `EVENTS_MAX`.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._spans = CounterSpans(tracer)

    def record(self, written: Written) -> None:
        verb, entries, _, ended_ns, n_before = written
        room = max(0, EVENTS_MAX - n_before) if verb.is_recording() else 0
        for entry in entries[:room]:
            verb.add_event(_NAME, counter_attributes(entry), ended_ns)
        if len(entries) > room:
            self._spans.record(written._replace(entries=entries[room:]))


def counter_changes(spans: str, tracer: Tracer) -> CounterChanges:
    """What BUDGET_SPANS asks for."""
    return CounterEvents(tracer) if spans == PER_VERB else CounterSpans(tracer)
