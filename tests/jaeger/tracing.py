"""Jaeger's query API, as far as "why does this key show that?" needs it."""

import json
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

SERVICE = "gateway"
LAST_MINUTES_S = 600
_MOST_TRACES = 5_000
_PATIENCE_S = 30

SpanId = tuple[str, str]
"""Trace id and span id, as hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One span as Jaeger shows it. ``worker`` is the process that made it."""

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
        tags = tags or {}
        found = [span for trace in self.traces(operation=operation, tags=tags) for span in _spans(trace)]
        return [
            span
            for span in found
            if operation in ("", span.name) and all(str(span.tags.get(name)) == tags[name] for name in tags)
        ]

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

    def wait_for(self, at_least: int = 1, *, operation: str, tags: Mapping[str, str] | None = None) -> list[Seen]:
        """The spans of a search, once there are so many: exporters send in batches."""
        until = time.monotonic() + _PATIENCE_S
        while len(found := self.search(operation=operation, tags=tags)) < at_least:
            assert time.monotonic() < until, f"{len(found)} of {at_least} spans {operation} {tags}: {found}"
            time.sleep(0.1)
        return found


def _spans(trace: Mapping[str, Any]) -> list[Seen]:
    workers = {
        name: str({tag["key"]: tag["value"] for tag in process["tags"]}.get("service.instance.id"))
        for name, process in trace["processes"].items()
    }
    return [
        Seen(
            id=(span["traceID"], span["spanID"]),
            name=span["operationName"],
            worker=workers[span["processID"]],
            tags={tag["key"]: tag["value"] for tag in span["tags"]},
            parents=_references(span, "CHILD_OF"),
            links=_references(span, "FOLLOWS_FROM"),
        )
        for span in trace["spans"]
    ]


def _references(span: Mapping[str, Any], kind: str) -> frozenset[SpanId]:
    return frozenset((each["traceID"], each["spanID"]) for each in span["references"] if each["refType"] == kind)
