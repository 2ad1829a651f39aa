"""BUDGET_TRACE_CONTEXT: whether the trace context in a caller's headers becomes a parent, a link, or nothing.

Between services of one owner it is their parent. At an edge that faces clients it is hostile input: a `traceparent`
whose flags say "not sampled" would silence our spans, and one with somebody else's ids would write into their trace. So
`link` and `ignore` begin a trace of our own there, also where a server's instrumentation has followed the caller: a
current span with the caller's trace id is as foreign as the header.
"""

from collections.abc import Iterable
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Link, SpanContext

PARENT: Final = "parent"
LINK: Final = "link"
_LINKED: Final = contexts.create_key("budget-caller")

Headers = Iterable[tuple[bytes, bytes]]


def context_for(mode: str, headers: Headers) -> Context | None:
    """Where a request's spans hang; None for the current span."""
    current = trace.get_current_span().get_span_context()
    if mode == PARENT:
        return None if current.is_valid else _extract(headers)
    callers = trace.get_current_span(_extract(headers, into=Context())).get_span_context()
    if current.is_valid and current.trace_id != callers.trace_id:
        return None
    foreign = current if current.is_valid else callers
    if mode == LINK and foreign.is_valid:
        return contexts.set_value(_LINKED, foreign, Context())
    return Context()


def links_in(context: Context | None) -> list[Link]:
    """The link that spans get instead of a foreign parent."""
    foreign = contexts.get_value(_LINKED, context) if context else None
    return [Link(foreign)] if isinstance(foreign, SpanContext) else []


class _HeaderGetter(Getter[Headers]):
    """Reads the few headers that a propagator asks for, where they are."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        sought = key.lower().encode("latin-1")
        return [value.decode("latin-1") for name, value in carrier if name == sought] or None

    def keys(self, carrier: Headers) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


_GETTER: Final = _HeaderGetter()


def _extract(headers: Headers, *, into: Context | None = None) -> Context:
    return propagate.extract(headers, into, getter=_GETTER)
