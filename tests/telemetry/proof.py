"""Holds what was exported against the journal: every entry is told by one span, or by one event of its verb's span."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from budget_middleware.core.answers import Entry
from budget_middleware.stores.base import Store
from tests.stores.verbs import whole_journal

ERRORS = {"expired", "finalized_late", "released_late", "finalized_unreserved", "unprotected", "conflict"}
SpanId = tuple[str, str]
LINKED = {"budget.grow", "budget.finalize", "budget.release", "budget.expire"}


async def prove(store: Store, spans: Iterable[ReadableSpan]) -> list[Entry]:
    """I9: each entry of the journal has its span, each span its entry. Returns the journal."""
    entries = await whole_journal(store)
    told = {id_of(span): span for span in spans}
    changes = list(changes_in(told))
    seqs = Counter(change.attributes["budget.journal.seq"] for change in changes)
    assert seqs == Counter(entry.seq for entry in entries), "one span or event an entry, and never two"
    reserved = {entry.reservation_id: ids_in(entry.trace) for entry in entries if entry.op == "reserve"}
    by_seq = {change.attributes["budget.journal.seq"]: change for change in changes}
    for entry in entries:
        change = by_seq[entry.seq]
        assert dict(change.attributes) == counter_says(entry)
        verb = change.verb
        assert verb.name == f"budget.{entry.op}"
        caller = verb if id_of(verb) == ids_in(entry.trace) else parent_of(verb, told)
        assert id_of(caller) == ids_in(entry.trace), "the journal names the span around the call"
        if verb.name in LINKED and entry.reservation_id in reserved:
            assert reserved[entry.reservation_id] in links_of(verb)
    for span in told.values():
        assert span.kind is SpanKind.INTERNAL
        status = attribute(span, "budget.status")
        assert (span.status.status_code is StatusCode.ERROR) == (status in ERRORS), f"{span.name} {status}"
        assert span.status.status_code is not StatusCode.OK
    return entries


class Change(NamedTuple):
    """A counter's change as it was exported, and the span of the verb that made it."""

    attributes: Mapping[str, object]
    verb: ReadableSpan
    is_event: bool


def changes_in(told: Mapping[SpanId, ReadableSpan]) -> Iterator[Change]:
    """The spans `budget.counter`, and the events of that name."""
    for span in told.values():
        if span.name == "budget.counter":
            yield Change(span.attributes or {}, parent_of(span, told), is_event=False)
        for event in span.events:
            assert event.name == "budget.counter"
            assert (span.start_time or 0) <= event.timestamp <= (span.end_time or 0), "within the call's times"
            yield Change(event.attributes or {}, span, is_event=True)


def all_changes(spans: Iterable[ReadableSpan]) -> list[Change]:
    return list(changes_in({id_of(span): span for span in spans}))


def counter_says(entry: Entry) -> dict[str, object]:
    says: dict[str, object] = {
        "budget.op": entry.op.value,
        "budget.account": entry.counter.account,
        "budget.account.kind": entry.counter.account.split(":")[0],
        "budget.period": str(entry.counter.period),
        "budget.window": entry.counter.window,
        "budget.unit": entry.counter.unit.value,
        "budget.reservation.id": entry.reservation_id,
        "budget.status": entry.status.value,
        "budget.journal.seq": entry.seq,
    }
    figures = {
        "budget.spent.before": entry.spent - entry.spent_delta,
        "budget.spent.delta": entry.spent_delta,
        "budget.spent.after": entry.spent,
        "budget.reserved.before": entry.reserved - entry.reserved_delta,
        "budget.reserved.delta": entry.reserved_delta,
        "budget.reserved.after": entry.reserved,
    }
    if entry.limit is not None:
        figures["budget.limit"] = entry.limit
    unit = entry.counter.unit.value
    return says | {f"{name}_{unit}": figure / 1e9 if unit == "usd" else figure for name, figure in figures.items()}


def id_of(span: ReadableSpan) -> SpanId:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def ids_in(traceparent: str) -> SpanId:
    _, trace_id, span_id, _ = traceparent.split("-")
    return trace_id, span_id


def parent_of(span: ReadableSpan, told: Mapping[SpanId, ReadableSpan]) -> ReadableSpan:
    assert span.parent is not None, f"{span.name} is a root"
    return told[f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}"]


def links_of(span: ReadableSpan) -> set[SpanId]:
    return {(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links}


def attribute(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {}).get(name)


def with_events(spans: Iterable[ReadableSpan]) -> Iterator[ReadableSpan | Event]:
    for span in spans:
        yield span
        yield from span.events


def named(spans: Iterable[ReadableSpan], name: str) -> Sequence[ReadableSpan]:
    return [span for span in spans if span.name == name]


def only(spans: Iterable[ReadableSpan], name: str) -> ReadableSpan:
    (span,) = named(spans, name)
    return span
