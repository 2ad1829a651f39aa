"""The spans and events of one simulation: which journal entries were told, and how often."""

import contextlib
import itertools
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from unittest import mock

from opentelemetry import metrics, trace
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator

from budget_middleware.telemetry.names import COUNTER_SPAN, JOURNAL_SEQ, JOURNAL_SHARD, RESERVATION_ID


class ToldEntries(SpanProcessor):
    """Counts the spans and events of each entry, by its shard, its seq and its reservation."""

    def __init__(self) -> None:
        self.times: Tally[tuple[str, int, str]] = Tally()

    def on_end(self, span: ReadableSpan) -> None:
        if span.name == COUNTER_SPAN and span.attributes is not None:
            self._count(span.attributes)
        for event in span.events:
            assert event.attributes is not None
            self._count(event.attributes)

    def _count(self, attributes: Mapping[str, object]) -> None:
        shard = str(attributes.get(JOURNAL_SHARD, ""))
        self.times[shard, int(str(attributes[JOURNAL_SEQ])), str(attributes[RESERVATION_ID])] += 1


class _InOrder(IdGenerator):
    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def generate_span_id(self) -> int:
        return next(self._ids)

    def generate_trace_id(self) -> int:
        return next(self._ids)


@contextlib.contextmanager
def told_entries() -> Iterator[ToldEntries]:
    """Spans go nowhere else meanwhile, and leave no trace in the process."""
    told = ToldEntries()
    # A resource that is not given is looked for in a thread, for each of thousands of simulations.
    provider = TracerProvider(resource=Resource.get_empty(), id_generator=_InOrder(), shutdown_on_exit=False)
    provider.add_span_processor(told)
    with (
        mock.patch.object(trace, "get_tracer_provider", lambda: provider),
        # The real ones keep what they observe as long as the process lives.
        mock.patch.object(metrics, "get_meter", lambda *_: NoOpMeter("simulated")),
    ):
        yield told
