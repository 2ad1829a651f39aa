"""Spans as the bytes of an OTLP request.

Theory of operation. The encoder of `opentelemetry-exporter-otlp-proto-common` makes a message of `opentelemetry-proto`
for each attribute, and copies it into the message around it, and that one into the next. That is most of what a sampled
trace costs. Here the bytes of spans, events, links and attributes are written at once:

    a span ─┬─ 0a 10 <trace id> 12 08 <span id> … 39 <start> 41 <end>
            └─ 4a <length> ── an attribute ─┬─ 0a <length> "budget.period"
                                            └─ 12 <length> ── its value ── 0a <length> "day"

Most attributes of a batch are alike, so the bytes of a text under its name, and those that stand before a double under
its name, are made once a batch (`_Texts`, `_Doubles`). What is rare (a status, a list as a value, what a batch has
once) is left to the classes of `opentelemetry-proto`, which also know the number of each field.

Needs the extra `otlp`. Only `otlp_exporter` imports this.
"""

import logging
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status as StatusMessage
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, StatusCode

from budget_middleware.telemetry.wire_format import sized, tag, varint

# A span and a link have their ids at the same places.
_TRACE_ID, _SPAN_ID = tag(SpanMessage, "trace_id") + b"\x10", tag(SpanMessage, "span_id") + b"\x08"
_TRACE_STATE: Final = tag(SpanMessage, "trace_state")
_PARENT_ID: Final = tag(SpanMessage, "parent_span_id") + b"\x08"
_NAME, _KIND, _STATUS = (tag(SpanMessage, name) for name in ("name", "kind", "status"))
_START, _END, _FLAGS = (tag(SpanMessage, name) for name in ("start_time_unix_nano", "end_time_unix_nano", "flags"))
_MANY: Final = ("attributes", "events", "links")
_ATTRIBUTES, _EVENTS, _LINKS = (tag(SpanMessage, many) for many in _MANY)
_DROPPED: Final = [tag(SpanMessage, f"dropped_{many}_count") for many in _MANY]
_EVENT_TIME, _EVENT_NAME = tag(SpanMessage.Event, "time_unix_nano"), tag(SpanMessage.Event, "name")
_EVENT_ATTRIBUTES, _LINK_ATTRIBUTES = tag(SpanMessage.Event, "attributes"), tag(SpanMessage.Link, "attributes")
_KEY, _VALUE = tag(KeyValue, "key"), tag(KeyValue, "value")
_STRING, _INT, _DOUBLE = (tag(AnyValue, f"{kind}_value") for kind in ("string", "int", "double"))

_ids = struct.Struct("<2s16s2s8s").pack
_times_and_flags = struct.Struct("<cQcQ2sI").pack
_time = struct.Struct("<cQ").pack
_double = struct.Struct("<d").pack

_NO_DOUBLE: Final = bytes(8)
_INT_MAX: Final = 2**63 - 1
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200

_log = logging.getLogger("budget_middleware")


def encode_spans(spans: Iterable[ReadableSpan]) -> bytes:
    """What an OTLP exporter sends for these spans."""
    # By identity: the spans of one provider share their resource, those of one tracer their scope.
    by_resource: dict[int, dict[int, list[ReadableSpan]]] = {}
    for span in spans:
        by_scope = by_resource.setdefault(id(span.resource), {})
        by_scope.setdefault(id(span.instrumentation_scope), []).append(span)
    batch, of_resource = _Batch(), tag(ExportTraceServiceRequest, "resource_spans")
    return b"".join([of_resource + sized(batch.of_resource(list(each.values()))) for each in by_resource.values()])


class _Texts(dict[tuple[str, str], bytes]):
    """A text under a name, as an attribute."""

    def __missing__(self, named: tuple[str, str]) -> bytes:
        key, text = named
        attribute = self[named] = _attribute(key, _STRING + sized(text.encode()))
        return attribute


class _Doubles(dict[str, bytes]):
    """An attribute that is a double, without its last eight bytes: those are the double."""

    def __missing__(self, key: str) -> bytes:
        begun = self[key] = _attribute(key, _DOUBLE + _NO_DOUBLE).removesuffix(_NO_DOUBLE)
        return begun


def _attribute(key: str, value: bytes) -> bytes:
    return sized(_KEY + sized(key.encode()) + _VALUE + sized(value))


class _Batch:
    """The spans of one request."""

    def __init__(self) -> None:
        self._texts = _Texts()
        self._doubles = _Doubles()

    def of_resource(self, by_scope: Sequence[Sequence[ReadableSpan]]) -> bytes:
        resource = by_scope[0][0].resource
        message = ResourceSpans(schema_url=resource.schema_url)
        message.resource.MergeFromString(self._attributes(tag(Resource, "attributes"), resource.attributes))
        begun: bytes = message.SerializeToString()
        of_scope = tag(ResourceSpans, "scope_spans")
        return begun + b"".join([of_scope + sized(self._of_scope(each)) for each in by_scope])

    def _of_scope(self, spans: Sequence[ReadableSpan]) -> bytes:
        message, scope = ScopeSpans(), spans[0].instrumentation_scope
        message.scope.SetInParent()
        if scope is not None:
            message.schema_url = scope.schema_url or ""
            message.scope.name, message.scope.version = scope.name, scope.version or ""
            attributes = self._attributes(tag(InstrumentationScope, "attributes"), scope.attributes)
            message.scope.MergeFromString(attributes)
        begun: bytes = message.SerializeToString()
        of_span = tag(ScopeSpans, "spans")
        return begun + b"".join([of_span + sized(self._of_span(span)) for span in spans])

    def _of_span(self, span: ReadableSpan) -> bytes:
        context, parent, state = span.get_span_context(), span.parent, b""
        if context is not None and context.trace_state:
            text = ",".join([f"{key}={value}" for key, value in context.trace_state.items()])
            state = _TRACE_STATE + sized(text.encode())
        return b"".join(
            [
                b"" if context is None else _ids_of(context),
                state,
                b"" if parent is None else _PARENT_ID + parent.span_id.to_bytes(8, "big"),
                # OTLP counts kinds from 1; 0 is "unspecified".
                _NAME + sized(span.name.encode()) + _KIND + varint(span.kind.value + 1),
                _times_and_flags(_START, span.start_time or 0, _END, span.end_time or 0, _FLAGS, _flags(parent)),
                self._attributes(_ATTRIBUTES, span.attributes),
                *[_EVENTS + sized(self._of_event(event)) for event in span.events],
                *[_LINKS + sized(self._of_link(link)) for link in span.links],
                _dropped(span),
                _STATUS + sized(_status(span)),
            ]
        )

    def _of_event(self, event: Event) -> bytes:
        begun = _time(_EVENT_TIME, event.timestamp) + _EVENT_NAME + sized(event.name.encode())
        dropped = event.dropped_attributes
        rest = SpanMessage.Event(dropped_attributes_count=dropped).SerializeToString() if dropped else b""
        return begun + self._attributes(_EVENT_ATTRIBUTES, event.attributes) + rest

    def _of_link(self, link: Link) -> bytes:
        message = SpanMessage.Link(flags=_flags(link.context), dropped_attributes_count=link.dropped_attributes)
        rest: bytes = message.SerializeToString()
        return _ids_of(link.context) + self._attributes(_LINK_ATTRIBUTES, link.attributes) + rest

    def _attributes(self, before: bytes, attributes: Any) -> bytes:
        """All with their tag ``before`` each. One that OTLP cannot hold is left out, and the others are kept."""
        if not attributes:
            return b""
        texts, doubles, found = self._texts, self._doubles, [b""]
        # The SDK's mapping is written in Python; what it copies itself to is not.
        for key, value in attributes.copy().items():
            # By exact type, for that is quick; what is left may be of a class of its own.
            kind = type(value)
            try:
                if kind is str:
                    found.append(texts[key, value])
                elif kind is float:
                    found.append(doubles[key] + _double(value))
                elif kind is int and 0 <= value <= _INT_MAX:
                    found.append(_attribute(key, _INT + varint(value)))
                else:
                    found.append(_rare(key, value))
            except Exception:  # noqa: BLE001 - as the encoder whose place this takes
                _log.warning("a span's attribute %s cannot be exported", key, exc_info=True)
        return before.join(found)


def _ids_of(context: SpanContext) -> bytes:
    return _ids(_TRACE_ID, context.trace_id.to_bytes(16, "big"), _SPAN_ID, context.span_id.to_bytes(8, "big"))


def _flags(context: SpanContext | None) -> int:
    return _HAS_IS_REMOTE | _IS_REMOTE if context is not None and context.is_remote else _HAS_IS_REMOTE


def _dropped(span: ReadableSpan) -> bytes:
    counts = span.dropped_attributes, span.dropped_events, span.dropped_links
    if counts == (0, 0, 0):
        return b""
    return b"".join([before + varint(count) for before, count in zip(_DROPPED, counts, strict=True) if count])


def _status(span: ReadableSpan) -> bytes:
    code, why = span.status.status_code, span.status.description
    if code is StatusCode.UNSET and not why:
        return b""
    status: bytes = StatusMessage(
        code=StatusMessage.StatusCode.ValueType(code.value), message=why or ""
    ).SerializeToString()
    return status


def _rare(key: str, value: object) -> bytes:
    message = KeyValue(key=key)
    _fill(message.value, value)
    return sized(message.SerializeToString())


def _fill(target: AnyValue, value: object) -> None:
    match value:
        case bool():
            target.bool_value = value
        case str():
            target.string_value = value
        case int():
            target.int_value = value
        case float():
            target.double_value = value
        case bytes():
            target.bytes_value = value
        case None:
            target.SetInParent()
        case _:
            _fill_with_many(target, value)


def _fill_with_many(target: AnyValue, value: object) -> None:
    match value:
        case Sequence():
            target.array_value.SetInParent()
            for each in value:
                _fill(target.array_value.values.add(), each)
        case Mapping():
            target.kvlist_value.SetInParent()
            for name, each in value.items():
                _fill(target.kvlist_value.values.add(key=str(name)).value, each)
        case _:
            raise TypeError(f"{type(value).__name__} is no type of OTLP's")
