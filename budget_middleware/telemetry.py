"""Every span, metric and attribute name, and the only module that knows OpenTelemetry (its API, never an SDK).

Telemetry never breaks or delays a request: whatever a provider, processor or propagator raises is logged once
and forgotten, and without a provider nothing is built. Names are those of ``docs/tracing.md``; a subject never
stands in a span name or in a metric's attribute.
"""

import functools
import logging
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final, ParamSpec, TypeVar

from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from budget_middleware.core.accounts import kind_of
from budget_middleware.core.model import Entry, Op, Rejection, Status
from budget_middleware.core.money import NANOS_PER_USD

_NAME = "budget_middleware"

COUNTER_SPAN = "budget.counter"
RESERVATION_ID = "budget.reservation.id"
STATUS = "budget.status"
REASON = "budget.reason"
ESTIMATE_USD = "budget.estimate_usd"
AMOUNT_USD = "budget.amount_usd"
OP = "budget.op"
ACCOUNT = "budget.account"
ACCOUNT_KIND = "budget.account.kind"
PERIOD = "budget.period"
WINDOW = "budget.window"
JOURNAL_SEQ = "budget.journal.seq"
SPENT_BEFORE_USD = "budget.spent.before_usd"
SPENT_DELTA_USD = "budget.spent.delta_usd"
SPENT_AFTER_USD = "budget.spent.after_usd"
RESERVED_BEFORE_USD = "budget.reserved.before_usd"
RESERVED_DELTA_USD = "budget.reserved.delta_usd"
RESERVED_AFTER_USD = "budget.reserved.after_usd"
LIMIT_USD = "budget.limit_usd"

# GenAI semantic conventions, under these names since OpenTelemetry 1.37.
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"

# What price books call a provider, and these conventions otherwise.
_PROVIDERS = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
}

UNPROTECTED = "unprotected"

_ERRORS = frozenset(
    {
        Status.EXPIRED,
        Status.FINALIZED_LATE,
        Status.RELEASED_LATE,
        Status.FINALIZED_UNRESERVED,
        Status.CONFLICT,
        UNPROTECTED,
    }
)
"""Refusals are policy, not errors; these are what an operator wants to find."""

# Milliseconds matter here, and an SDK's own bounds begin at 5 s.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_RATIOS = (0.1, 0.25, 0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)

Attributes = Mapping[str, str | int | float | bool]
Told = Callable[[], Attributes]
"""Makes attributes: it is called only where a sampler or a span reads them."""
ParentContext = Context | None
"""Where a request's spans hang; opaque to everybody else."""
NO_PROVIDER: Final = Context()
"""The parent of a request that came when there was no provider: it has no spans, and nobody asks again."""

_log = logging.getLogger(_NAME)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _harmless(method: Callable[_P, _R]) -> Callable[_P, _R | None]:
    """A provider's error must not reach a request: it is logged the first time, and the answer is None."""
    logged = False

    @functools.wraps(method)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R | None:
        nonlocal logged
        try:
            return method(*args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it is, the request goes on
            if not logged:
                logged = True
                _log.warning("telemetry failed in %s; requests are unharmed", method.__name__, exc_info=True)
            return None

    return guarded


@_harmless
def _get_tracer() -> trace.Tracer:
    return trace.get_tracer(_NAME, version("budget-middleware"))


@_harmless
def _get_meter() -> metrics.Meter:
    return metrics.get_meter(_NAME, version("budget-middleware"))


@_harmless
def has_tracer_provider() -> bool:
    """Whether spans go anywhere: a provider was set, in code or by ``opentelemetry-instrument``.

    None, because it cannot be told, where the environment names a provider that cannot be loaded.
    """
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider | trace.NoOpTracerProvider)


def provider_name(provider: str) -> str:
    """The well-known name of a provider, else the one that is given."""
    return _PROVIDERS.get(provider, provider)


def because(reason: str) -> Told:
    """Tells a reason and nothing else."""
    return lambda: {REASON: reason}


@dataclass(slots=True, eq=False)
class VerbSpan:
    """The span around one verb's store call; ``trace`` (a traceparent) goes into the journal.

    ``since_seq`` is the journal's seq as it was known before the call. ``told`` are the entries that have their
    counter span already.
    """

    op: Op
    span: Span
    trace: str
    since_seq: int
    started_ns: int
    is_recording: bool
    is_ended: bool = False
    told: set[int] = field(default_factory=set)


_SILENT = VerbSpan(
    Op.RESERVE,
    NonRecordingSpan(trace.INVALID_SPAN_CONTEXT),
    trace="",
    since_seq=0,
    started_ns=0,
    is_recording=False,
)


class Telemetry:
    """Spans and metrics of one ledger."""

    def __init__(self) -> None:
        # None where the environment names a provider that cannot be loaded: each look for it would be logged.
        tracer = _get_tracer()
        self._tracer = tracer or trace.NoOpTracer()
        self._is_mute = tracer is None
        meter = _get_meter() or metrics.NoOpMeter(_NAME)
        self._reserve_duration = meter.create_histogram(
            "budget.reserve.duration",
            unit="s",
            description="Time that a request waits for its reservation.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._store_duration = meter.create_histogram(
            "budget.store.duration",
            unit="s",
            description="Time of one call that the store answered.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._requests = meter.create_counter(
            "budget.requests", unit="{request}", description="Requests by what became of them."
        )
        self._cost = meter.create_counter("budget.cost", unit="{USD}", description="Cost booked.")
        self._estimate_ratio = meter.create_histogram(
            "budget.estimate.ratio",
            unit="1",
            description="Estimated over actual cost of a request.",
            explicit_bucket_boundaries_advisory=_RATIOS,
        )
        self._expired = meter.create_counter(
            "budget.reservations.expired", unit="{reservation}", description="Leases that ran out."
        )
        self._lost = meter.create_counter(
            "budget.spool.lost", unit="{ending}", description="Endings for which there was no room to wait."
        )
        self._unlogged = meter.create_counter(
            "budget.refusals.unlogged", unit="{refusal}", description="Refusals that the log of them lacks."
        )
        self._meter = meter
        self._gauges: Gauges | None = None
        self._begin_at_zero()

    @_harmless
    def _begin_at_zero(self) -> None:
        """A series that appears with its first event shows no increase to whoever asks for its rate."""
        for counter in (self._expired, self._lost, self._unlogged):
            counter.add(0)

    # Spans.

    @_harmless
    def parent(self, headers: Iterable[tuple[bytes, bytes]]) -> Context | None:
        """What verb spans of a request hang under: the current span (None), else the context in its headers."""
        if self._is_mute or not has_tracer_provider():
            return NO_PROVIDER
        if trace.get_current_span().get_span_context().is_valid:
            return None
        return _extract(headers)

    def start(
        self,
        op: Op,
        *,
        reservation_id: str = "",
        since_seq: int = 0,
        context: Context | None = None,
        reserve_trace: str = "",
        told: Told = dict,
    ) -> VerbSpan:
        """Begin a verb's span, linked to the span that made the reservation."""
        if context is NO_PROVIDER or self._is_mute or not has_tracer_provider():
            return _SILENT
        begun = _begin(
            self._tracer,
            op,
            reservation_id=reservation_id,
            since_seq=since_seq,
            context=context,
            reserve_trace=reserve_trace,
            told=told,
        )
        return begun or _SILENT

    @_harmless
    def end(self, verb: VerbSpan, status: str, *, told: Told = dict) -> None:
        """End a verb's span with what the verb answered."""
        if not verb.is_recording or verb.is_ended:
            return
        verb.is_ended = True
        verb.span.set_attribute(STATUS, status)
        for name, value in told().items():
            verb.span.set_attribute(name, value)
        if status in _ERRORS:
            verb.span.set_status(StatusCode.ERROR, status)
        verb.span.end()

    @_harmless
    def tell(self, verb: VerbSpan, entries: Sequence[Entry], *, ended_ns: int | None = None) -> None:
        """Make the counter span of each journal entry that ``verb``'s call wrote, once."""
        untold = [entry for entry in entries if entry.seq not in verb.told]
        expired = {entry.reservation_id for entry in untold if entry.op is Op.EXPIRE}
        if expired:
            self._expired.add(len(expired))
        if not verb.is_recording:
            return
        ended_ns = ended_ns or time.time_ns()
        verb.told.update(entry.seq for entry in untold)
        swept = [entry for entry in untold if entry.op is Op.EXPIRE and verb.op is not Op.EXPIRE]
        if swept:
            self._tell_swept(verb, swept, ended_ns)
        under = trace.set_span_in_context(verb.span)
        for entry in untold:
            if entry.op is verb.op:
                self._counter_span(entry, under, verb.started_ns, ended_ns)

    def _tell_swept(self, verb: VerbSpan, swept: Sequence[Entry], ended_ns: int) -> None:
        """Leases that a verb expired in passing get a verb span of their own below it."""
        ids = {entry.reservation_id for entry in swept}
        span = self._tracer.start_span(
            f"budget.{Op.EXPIRE}",
            context=trace.set_span_in_context(verb.span),
            kind=SpanKind.INTERNAL,
            attributes={
                STATUS: str(Status.EXPIRED),
                **({RESERVATION_ID: ids.pop()} if len(ids) == 1 else {}),
            },
            links=_links(dict.fromkeys(entry.reserve_trace for entry in swept)),
            start_time=verb.started_ns,
        )
        span.set_status(StatusCode.ERROR, Status.EXPIRED)
        under = trace.set_span_in_context(span)
        for entry in swept:
            self._counter_span(entry, under, verb.started_ns, ended_ns)
        span.end(ended_ns)

    @_harmless
    def link_expired(self, verb: VerbSpan, entries: Sequence[Entry]) -> None:
        """Link an expire span to the reserve spans of what it expired, known only from the reply, as is the id."""
        ids = {entry.reservation_id for entry in entries}
        if len(ids) == 1:
            verb.span.set_attribute(RESERVATION_ID, ids.pop())
        for link in _links(dict.fromkeys(entry.reserve_trace for entry in entries)):
            verb.span.add_link(link.context)

    def _counter_span(self, entry: Entry, under: Context, started_ns: int, ended_ns: int) -> None:
        span = self._tracer.start_span(
            COUNTER_SPAN,
            context=under,
            kind=SpanKind.INTERNAL,
            attributes=counter_attributes(entry),
            start_time=started_ns,
        )
        if entry.status in _ERRORS:
            span.set_status(StatusCode.ERROR, entry.status)
        span.end(ended_ns)

    @_harmless
    def flush(self) -> None:
        """Let a provider that batches export before the process ends. It blocks, some exporters for long."""
        # No method of the API: an SDK has it.
        flush = None if self._is_mute else getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush()

    # Metrics.

    # A context tells exemplars which trace a figure is from; None is the current one.

    @_harmless
    def count_reserve(self, verb: VerbSpan, *, seconds: float, status: str) -> None:
        context = trace.set_span_in_context(verb.span) if verb.is_recording else None
        self._reserve_duration.record(seconds, {"status": status}, context)

    @_harmless
    def count_call(self, op: Op, *, seconds: float) -> None:
        self._store_duration.record(seconds, {"op": op.value})

    @_harmless
    def count_request(self, *, status: str, model: str, context: ParentContext = None) -> None:
        self._requests.add(1, {"status": status, "model": model}, context)

    @_harmless
    def count_cost(self, *, actual_nanos: int, estimate_nanos: int, model: str, context: ParentContext = None) -> None:
        self._cost.add(actual_nanos / NANOS_PER_USD, {"model": model}, context)
        if actual_nanos > 0:
            self._estimate_ratio.record(estimate_nanos / actual_nanos, {"model": model}, context)

    @_harmless
    def count_lost(self) -> None:
        self._lost.add(1)

    @_harmless
    def count_unlogged(self, refusals: int) -> None:
        self._unlogged.add(refusals)

    @_harmless
    def observe(self, gauges: "Gauges") -> None:
        """Tell a ledger's gauges from now on, as long as this object lives."""
        self._gauges = gauges
        _observed[:] = [*(each for each in _observed if each() is not None), weakref.ref(self)]
        self._meter.create_observable_gauge(
            "budget.reserved",
            callbacks=[_reserved],
            unit="{USD}",
            description="Reserved now, by account kind.",
        )
        self._meter.create_observable_gauge(
            "budget.reservations.oldest",
            callbacks=[_oldest],
            unit="s",
            description="Age of the oldest reservation whose request still runs.",
        )
        self._meter.create_observable_gauge(
            "budget.spool.size",
            callbacks=[_spooled],
            unit="{ending}",
            description="Endings that wait for the store.",
        )


@dataclass(frozen=True, slots=True)
class Gauges:
    """What one ledger knows, read in a thread of the metric reader's: all must answer at once."""

    reserved_by_kind: Callable[[], Mapping[str, int]]
    oldest_s: Callable[[], float]
    spooled: Callable[[], int]


# An SDK keeps the first instrument of a name and forgets the callbacks of the next, so these tell of every ledger.
_observed: list[weakref.ref[Telemetry]] = []


def _gauges() -> list[Gauges]:
    living = [telemetry for each in list(_observed) if (telemetry := each()) is not None]
    return [telemetry._gauges for telemetry in living if telemetry._gauges is not None]


def _reserved(_: CallbackOptions) -> Iterable[Observation]:
    """Ledgers of one store tell the same totals, as of the last sweep of each."""
    totals: dict[str, int] = {}
    for gauges in _gauges():
        for kind, nanos in gauges.reserved_by_kind().items():
            totals[kind] = max(totals.get(kind, 0), nanos)
    return [Observation(nanos / NANOS_PER_USD, {"kind": kind}) for kind, nanos in totals.items()]


def _oldest(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(max((gauges.oldest_s() for gauges in _gauges()), default=0.0))]


def _spooled(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(sum(gauges.spooled() for gauges in _gauges()))]


def counter_attributes(entry: Entry) -> Attributes:
    """What a counter span says of its journal entry; the journal keeps the exact amounts."""
    attributes: dict[str, str | int | float | bool] = {
        OP: str(entry.op),
        ACCOUNT: entry.counter.account,
        ACCOUNT_KIND: kind_of(entry.counter.account),
        PERIOD: str(entry.counter.period),
        WINDOW: entry.counter.window,
        RESERVATION_ID: entry.reservation_id,
        STATUS: str(entry.status),
        JOURNAL_SEQ: entry.seq,
        SPENT_BEFORE_USD: entry.spent_before_nanos / NANOS_PER_USD,
        SPENT_DELTA_USD: entry.spent_delta_nanos / NANOS_PER_USD,
        SPENT_AFTER_USD: entry.spent_nanos / NANOS_PER_USD,
        RESERVED_BEFORE_USD: entry.reserved_before_nanos / NANOS_PER_USD,
        RESERVED_DELTA_USD: entry.reserved_delta_nanos / NANOS_PER_USD,
        RESERVED_AFTER_USD: entry.reserved_nanos / NANOS_PER_USD,
    }
    if entry.limit_nanos is not None:
        attributes[LIMIT_USD] = entry.limit_nanos / NANOS_PER_USD
    return attributes


def rejection_attributes(rejection: Rejection) -> Attributes:
    """The counter that refused a reserve."""
    account, period, window = rejection.target.counter
    return {
        ACCOUNT: account,
        ACCOUNT_KIND: kind_of(account),
        PERIOD: str(period),
        WINDOW: window,
        SPENT_BEFORE_USD: rejection.balance.spent_nanos / NANOS_PER_USD,
        RESERVED_BEFORE_USD: rejection.balance.reserved_nanos / NANOS_PER_USD,
        LIMIT_USD: rejection.limit_nanos / NANOS_PER_USD,
    }


@_harmless
def _begin(
    tracer: trace.Tracer,
    op: Op,
    *,
    reservation_id: str,
    since_seq: int,
    context: Context | None,
    reserve_trace: str,
    told: Told,
) -> VerbSpan:
    started_ns = time.time_ns()
    given = {RESERVATION_ID: reservation_id} if reservation_id else {}
    span = tracer.start_span(
        f"budget.{op}",
        context=context,
        kind=SpanKind.INTERNAL,
        attributes={**given, **told()},
        links=_links([reserve_trace]),
        start_time=started_ns,
    )
    traceparent = _traceparent(span.get_span_context())
    return VerbSpan(op, span, traceparent, since_seq, started_ns, span.is_recording())


@_harmless
def _extract(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    return propagate.extract({name.decode("latin-1"): value.decode("latin-1") for name, value in headers})


def _traceparent(context: SpanContext) -> str:
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_ids(traceparent: str) -> tuple[str, str]:
    """Trace and span id of a traceparent, both empty where there is none."""
    parts = traceparent.split("-")
    return (parts[1], parts[2]) if len(parts) == 4 else ("", "")


def log_ids(reservation_id: str, traceparent: str) -> Mapping[str, str]:
    """The ``extra`` of a log record about one reservation: its id, and the span that tells it."""
    trace_id, span_id = trace_ids(traceparent)
    # Names of our own: `logging` raises if a factory has set a field of that name already, as many do `trace_id`.
    return {"budget_reservation_id": reservation_id, "budget_trace_id": trace_id, "budget_span_id": span_id}


def is_sampled(traceparent: str) -> bool:
    """Whether the span of a traceparent was meant to be exported."""
    flags = traceparent.rpartition("-")[2]
    return flags.isalnum() and int(flags, 16) & TraceFlags.SAMPLED != 0


def _links(traceparents: Iterable[str]) -> list[Link]:
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
