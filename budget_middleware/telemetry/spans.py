"""The spans of a ledger's verbs. `counter_changes` says how the changes that a verb made are recorded with them.

Without a provider nothing is built. Attributes are made only for those who read them.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanKind, StatusCode

from budget_middleware.core.answers import Entry
from budget_middleware.core.statuses import Op, Status
from budget_middleware.package_version import package_version
from budget_middleware.telemetry import names
from budget_middleware.telemetry.callers import PARENT, context_for, links_in
from budget_middleware.telemetry.counter_changes import LIMIT_EVENTS_MAX, PER_COUNTER, Written, counter_changes
from budget_middleware.telemetry.harmless import harmless, harmless_or
from budget_middleware.telemetry.metrics import LOOKED_FOR_EVERY_S, Metrics
from budget_middleware.telemetry.names import Attributes, LazyAttributes
from budget_middleware.telemetry.providers import goes_nowhere, has_tracer_provider
from budget_middleware.telemetry.traceparent import links_to, traceparent_of

ParentContext = Context | None
"""Where a request's spans hang; opaque to everybody else."""
_NAMES: Final = {op: f"budget.{op}" for op in Op}
# Python 3.11 takes ten times as long to find the member of an enum as a global.
_INTERNAL: Final = SpanKind.INTERNAL
_RESERVE, _RELEASE, _EXPIRE = Op.RESERVE, Op.RELEASE, Op.EXPIRE
NO_PROVIDER: Final = Context()
"""The parent of a request that came when there was no provider: it has no spans, and nobody asks again."""


@harmless
def _get_tracer() -> trace.Tracer:
    return trace.get_tracer("budget_middleware", package_version())


class Position(Protocol):
    """How far a journal was, or that of each shard: the ledger's own."""

    def seq_in(self, shard: str) -> int: ...


class _Start:
    def seq_in(self, shard: str) -> int:  # noqa: ARG002 - everywhere at the start
        return 0


_START: Final = _Start()


@dataclass(slots=True, eq=False)
class VerbSpan:
    """The span around one verb's store call; ``trace`` (a traceparent) goes into the journal.

    ``since`` is how far the journal was before the call, as far as was known. ``attributes`` are those that it began
    with. ``recorded`` are the entries that were recorded already.
    """

    op: Op
    span: Span
    trace: str
    since: Position
    started_ns: int
    is_recording: bool
    attributes: Attributes
    is_ended: bool = False
    recorded: tuple[Entry, ...] = ()
    n_limit_events: int = 0

    @property
    def context(self) -> Context | None:
        """Where what belongs to this span hangs; None if nobody records it."""
        return trace.set_span_in_context(self.span) if self.is_recording else None


SILENT = VerbSpan(
    Op.RESERVE,
    NonRecordingSpan(trace.INVALID_SPAN_CONTEXT),
    trace="",
    since=_START,
    started_ns=0,
    is_recording=False,
    attributes={},
)


class Spans:
    """The spans of one ledger; leases that expired are counted as their entries are recorded."""

    def __init__(self, metrics: Metrics, *, trace_context: str = PARENT, spans: str = PER_COUNTER) -> None:
        # None where the environment names a provider that cannot be loaded: each look for it would be logged.
        tracer = _get_tracer()
        self._tracer = tracer or trace.NoOpTracer()
        self._is_mute = tracer is None
        self._has_provider, self._look_at_s = False, -math.inf
        self._metrics = metrics
        self._trace_context = trace_context
        self._changes = counter_changes(spans, self._tracer)

    @harmless
    def parent(self, headers: Iterable[tuple[bytes, bytes]]) -> Context | None:
        """What verb spans of a request hang under: the current span (None), else as BUDGET_TRACE_CONTEXT says.

        While there is no provider, one is looked for once a second: each look asks the environment too.
        """
        if not self._has_provider:
            now_s = time.monotonic()
            if self._is_mute or now_s < self._look_at_s:
                return NO_PROVIDER
            self._look_at_s = now_s + LOOKED_FOR_EVERY_S
            self._has_provider = not goes_nowhere(type(trace.get_tracer_provider()))
            if not self._has_provider:
                return NO_PROVIDER
        return context_for(self._trace_context, headers)

    @harmless_or(SILENT)
    def start(
        self,
        op: Op,
        *,
        reservation_id: str = "",
        since: Position = _START,
        context: Context | None = None,
        reserve_trace: str = "",
        attributes: LazyAttributes = dict,
    ) -> VerbSpan:
        """Begin a verb's span, linked to the span that made the reservation."""
        if context is NO_PROVIDER or self._is_mute or not (self._has_provider or has_tracer_provider()):
            return SILENT
        links = links_to([reserve_trace]) if reserve_trace else []
        if context:
            links += links_in(context)
        started_ns = time.time_ns()
        given = {names.RESERVATION_ID: reservation_id, **attributes()} if reservation_id else attributes()
        span = self._tracer.start_span(
            _NAMES[op], context=context, kind=_INTERNAL, attributes=given, links=links, start_time=started_ns
        )
        traceparent = traceparent_of(span.get_span_context())
        return VerbSpan(op, span, traceparent, since, started_ns, span.is_recording(), given)

    @harmless
    def end(self, verb: VerbSpan, status: str, *, attributes: LazyAttributes = dict) -> None:
        """End a verb's span with what the verb answered."""
        if not verb.is_recording or verb.is_ended:
            return
        verb.is_ended = True
        span, more, status = verb.span, attributes(), str(status)
        if more:
            span.set_attributes({names.STATUS: status, **more})
        else:
            span.set_attribute(names.STATUS, status)
        if status in names.ERRORS:
            span.set_status(StatusCode.ERROR, status)
        span.end()

    @harmless
    def add_event(self, verb: VerbSpan, name: str, attributes: LazyAttributes) -> None:
        """Say on a verb's span what has just happened, before it ends; beyond LIMIT_EVENTS_MAX by a span below it."""
        if not verb.is_recording:
            return
        verb.n_limit_events += 1
        if verb.n_limit_events <= LIMIT_EVENTS_MAX:
            verb.span.add_event(name, attributes())
        else:
            self._tracer.start_span(name, context=verb.context, kind=_INTERNAL, attributes=attributes()).end()

    @harmless
    def record_entries(self, verb: VerbSpan, entries: Sequence[Entry]) -> None:
        """Record each journal entry that ``verb``'s call wrote, once; best before the verb's span ends."""
        recorded, unrecorded = verb.recorded, entries
        if recorded:
            known = {(entry.shard, entry.seq) for entry in recorded}
            unrecorded = [entry for entry in entries if (entry.shard, entry.seq) not in known]
        expired = [entry for entry in unrecorded if entry.op is _EXPIRE]
        if expired:
            self._metrics.count_expired(len({entry.reservation_id for entry in expired}))
        if not verb.is_recording:
            return
        verb.recorded = (*recorded, *unrecorded)
        op, ended_ns = verb.op, time.time_ns()
        if expired and op is not _EXPIRE:
            self._record_swept(verb, expired, ended_ns)
        own = [entry for entry in unrecorded if entry.op is op or _is_undone(entry, verb)]
        self._changes.record(Written(verb.span, own, verb.started_ns, ended_ns, len(recorded)))

    def _record_swept(self, verb: VerbSpan, swept: Sequence[Entry], ended_ns: int) -> None:
        """Leases that a verb expired in passing get a verb span of their own below it."""
        ids = {entry.reservation_id for entry in swept}
        span = self._tracer.start_span(
            _NAMES[_EXPIRE],
            context=trace.set_span_in_context(verb.span),
            kind=_INTERNAL,
            attributes={
                names.STATUS: str(Status.EXPIRED),
                **({names.RESERVATION_ID: ids.pop()} if len(ids) == 1 else {}),
            },
            links=links_to(dict.fromkeys(entry.reserve_trace for entry in swept)),
            start_time=verb.started_ns,
        )
        span.set_status(StatusCode.ERROR, Status.EXPIRED)
        self._changes.record(Written(span, swept, verb.started_ns, ended_ns))
        span.end(ended_ns)

    @harmless
    def link_expired(self, verb: VerbSpan, entries: Sequence[Entry]) -> None:
        """Link an expire span to the reserve spans of what it expired, known only from the reply, as is the id.

        Where one shard's reply comes later than another's, the span has ended with the first.
        """
        if verb.is_ended:
            return
        ids = {entry.reservation_id for entry in entries}
        if len(ids) == 1:
            verb.span.set_attribute(names.RESERVATION_ID, ids.pop())
        for link in links_to(dict.fromkeys(entry.reserve_trace for entry in entries)):
            verb.span.add_link(link.context)

    @harmless
    def flush(self) -> None:
        """Let a provider that batches export before the process ends. It blocks, some exporters for long."""
        # No method of the API: an SDK has it.
        flush = None if self._is_mute else getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush()


def _is_undone(entry: Entry, verb: VerbSpan) -> bool:
    """Whether it gives back a part of a reservation whose reserve was refused by another shard."""
    return verb.op is _RESERVE and entry.op is _RELEASE
