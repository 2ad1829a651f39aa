"""`budget_otlp` sends what OpenTelemetry's own exporter sends, span for span and attribute for attribute."""

from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import entry_points
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_copying
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from budget_middleware.telemetry import otlp_exporter, wire_format
from budget_middleware.telemetry.otlp_exporter import BudgetOTLPSpanExporter, encode
from budget_middleware.telemetry.span_encoding import encode_spans
from tests.telemetry.otlp import receiver


class Colour(StrEnum):
    RED = "red"


REMOTE = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "b"), ("c", "d")]))
scalars = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=3),
    st.none(),
    st.just(Colour.RED),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
attributes = st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), values, max_size=4)


def made(*facts: dict[str, Any], limits: SpanLimits | None = None) -> Sequence[ReadableSpan]:
    """A span for each, by two tracers of two providers, with all that a span can have."""
    exporter = InMemorySpanExporter()
    for name, of in (("first", facts[::2]), ("second", facts[1::2])):
        resource = Resource({"service.name": name, "replicas": 3}, schema_url=f"https://schema/{name}")
        provider = TracerProvider(resource=resource, shutdown_on_exit=False, span_limits=limits)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracers = [
            provider.get_tracer("plain"),
            provider.get_tracer("full", "1.2", schema_url="https://schema", attributes={"scope": True}),
        ]
        for number, told in enumerate(of):
            parent = trace.set_span_in_context(trace.NonRecordingSpan(REMOTE)) if number % 3 else None
            span = tracers[number % 2].start_span(
                "span",
                context=parent,
                kind=list(SpanKind)[number % len(SpanKind)],
                attributes=told,
                links=[Link(REMOTE, told), Link(SpanContext(1, 2, is_remote=False))][: number % 3],
                start_time=10 + number,
            )
            for at in range(number % 4):
                span.add_event("event", told, at)
            if number % 2:
                span.set_status(StatusCode.ERROR, "why" if number % 4 == 1 else None)
            span.end(20)
    return exporter.get_finished_spans()


def parsed(data: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(data)


def expected(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    return parsed(encode_by_copying(spans).SerializeToString())


@given(st.lists(attributes, min_size=1, max_size=13))
def test_the_request_is_that_of_the_other_encoder(facts: list[dict[str, Any]]):
    spans = made(*facts)
    assert parsed(encode_spans(spans)) == expected(spans)


def test_what_was_dropped_is_counted_alike():
    facts = [{"a": 1, "b": 2, "c": 3}] * 12
    limits = SpanLimits(max_attributes=2, max_events=1, max_links=1, max_event_attributes=1, max_link_attributes=1)
    spans = made(*facts, limits=limits)
    assert {span.dropped_events for span in spans} > {0, 1}
    assert parsed(encode_spans(spans)) == expected(spans)


@pytest.mark.parametrize("wrong", [2**63, "\ud800", [1, 2**63], {"deep": "\ud800"}])
def test_an_attribute_that_otlp_cannot_hold_is_left_out_and_the_others_stay(wrong: object, caplog):
    spans = made({"first": 1, "wrong": wrong, "last": "x"})
    request = parsed(encode_spans(spans))
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert [pair.key for pair in span.attributes] == ["first", "last"]
    assert request == expected(spans)
    assert "attribute wrong cannot be exported" in caplog.text


def test_spans_that_it_fails_on_are_encoded_as_without_it(monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(otlp_exporter, "encode_spans", lambda _: 1 / 0)
    spans = made({"a": 1})
    assert encode(spans) == encode_by_copying(spans)
    assert "encoded by OpenTelemetry's own encoder" in caplog.text


def test_a_version_that_asks_for_more_than_the_bytes_gets_the_message():
    request = encode(made({"a": 1}))
    assert request.ByteSize() == len(request.SerializePartialToString())
    assert request.resource_spans[0].resource.attributes[0].key == "service.name"


@given(st.integers(0, 2**63 - 1))
def test_a_number_is_written_as_protobuf_does(number: int):
    assert wire_format.varint(number) == AnyValue(int_value=number).SerializeToString()[1:]


@pytest.mark.parametrize("n_bytes", [0, 1, 127, 128, 511, 512, 513, 70_000])
def test_a_text_of_any_length_arrives(n_bytes: int):
    spans = made({"text": "x" * n_bytes, "x" * (n_bytes or 1): "é"})
    assert parsed(encode_spans(spans)) == expected(spans)


def test_the_exporter_sends_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trace_exporter, "encode_spans", encode_by_copying)
    with receiver() as collector:
        exporter = BudgetOTLPSpanExporter(endpoint=f"{collector.url}/v1/traces")
        monkeypatch.setattr(otlp_exporter, "encode_by_copying", None)
        spans = made({"a": 1}, {"b": 2.5})
        assert vars(trace_exporter)["encode_spans"] is encode
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        assert [dict(span.attributes or {}) for span in collector.spans()] == [{"a": 1}, {"b": 2.5}]
        exporter.shutdown()


def test_an_exporter_without_a_place_for_it_keeps_its_own(monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.delattr(trace_exporter, "encode_spans")
    BudgetOTLPSpanExporter(endpoint="http://127.0.0.1:1/v1/traces").shutdown()
    assert "keeps its own" in caplog.text
    assert not hasattr(trace_exporter, "encode_spans")


def test_the_environment_can_name_it():
    found = entry_points(group="opentelemetry_traces_exporter", name="budget_otlp")
    assert found, "installed before it had this exporter: make setup"
    assert {entry.load() for entry in found} == {BudgetOTLPSpanExporter}
