"""Jaeger's query API, as far as "why does this key show that?" needs it."""

import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

SERVICE = "gateway"
COUNTER = "budget.counter"
LAST_MINUTES_S = 600
_MOST_TRACES = 5_000
_PATIENCE_S = 30

SpanId = tuple[str, str]
"""Trace id and span id, as hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One span as Jaeger shows it, or one event of a span. ``worker`` is the process that made it."""

    id: SpanId
    name: str
    worker: str
    tags: Mapping[str, Any]
    parents: frozenset[SpanId]
    links: frozenset[SpanId]

    @property
    def is_error(self) -> bool:
        return self.tags.get("error", False) is True


@dataclass(frozen=True, slots=True)
class Jaeger:
    otlp_url: str
    query_url: str
    service: str = SERVICE

    def search(self, *, operation: str = "", tags: Mapping[str, str] | None = None) -> list[Seen]:
        """The spans of the last minutes by operation and tags. Jaeger finds whole traces, so they are sifted here."""
        found = [span for trace in self.traces(operation=operation, tags=tags) for span in _spans(trace)]
        return [span for span in found if operation in ("", span.name) and _has(span, tags or {})]

    def changes(self, *, spans_per: str, tags: Mapping[str, str] | None = None) -> list[Seen]:
        """Changes of counters by their tags: spans of their own, or with BUDGET_SPANS=verb events of their verbs."""
        if spans_per == "counter":
            return self.search(operation=COUNTER, tags=tags)
        found = [event for trace in self.traces(tags=tags) for event in _events(trace)]
        return [event for event in found if _has(event, tags or {})]

    def traces(self, *, operation: str = "", tags: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """The traces that hold such a span, as Jaeger's JSON has them."""
        now_us = time.time_ns() // 1_000
        query = {
            "service": self.service,
            "start": now_us - LAST_MINUTES_S * 1_000_000,
            "end": now_us,
            "limit": _MOST_TRACES,
            **({"operation": operation} if operation else {}),
            **({"tags": json.dumps(dict(tags))} if tags else {}),
        }
        with urllib.request.urlopen(f"{self.query_url}/api/traces?{urlencode(query)}") as answer:
            document: dict[str, Any] = json.load(answer)
        assert not document["errors"], document["errors"]
        return list(document["data"])

    def at(self, url: str) -> list[list[Seen]]:
        """The spans of the trace that a link leads to; none if it leads nowhere."""
        with urllib.request.urlopen(url) as answer:
            return [_spans(trace) for trace in json.load(answer)["data"]]

    def wait_for(self, at_least: int = 1, *, spans_per: str, tags: Mapping[str, str] | None = None) -> list[Seen]:
        """The changes of a search, once there are so many: exporters send in batches."""
        until = time.monotonic() + _PATIENCE_S
        while len(found := self.changes(spans_per=spans_per, tags=tags)) < at_least:
            assert time.monotonic() < until, f"{len(found)} of {at_least} changes {tags}: {found}"
            time.sleep(0.1)
        return found


def _has(seen: Seen, tags: Mapping[str, str]) -> bool:
    return all(str(seen.tags.get(name)) == tags[name] for name in tags)


def _spans(trace: Mapping[str, Any]) -> list[Seen]:
    workers = _workers(trace)
    return [
        Seen(
            id=(span["traceID"], span["spanID"]),
            name=span["operationName"],
            worker=workers[span["processID"]],
            tags=_tags(span["tags"]),
            parents=_references(span, "CHILD_OF"),
            links=_references(span, "FOLLOWS_FROM"),
        )
        for span in trace["spans"]
    ]


def _events(trace: Mapping[str, Any]) -> list[Seen]:
    """Jaeger calls them logs, and puts an event's name beside its attributes. Their span is their parent."""
    workers = _workers(trace)
    return [
        Seen(
            id=(span["traceID"], span["spanID"]),
            name=tags.pop("event"),
            worker=workers[span["processID"]],
            tags=tags,
            parents=frozenset({(span["traceID"], span["spanID"])}),
            links=frozenset(),
        )
        for span in trace["spans"]
        for log in span["logs"]
        for tags in [_tags(log["fields"])]
    ]


def _workers(trace: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(_tags(process["tags"]).get("service.instance.id")) for name, process in trace["processes"].items()
    }


def _tags(tags: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in tags}


def _references(span: Mapping[str, Any], kind: str) -> frozenset[SpanId]:
    return frozenset((each["traceID"], each["spanID"]) for each in span["references"] if each["refType"] == kind)
