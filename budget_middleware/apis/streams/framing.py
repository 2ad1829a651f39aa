"""The framing of an answer's body, by its content type: one JSON document, or a stream that is split into events."""

from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from budget_middleware.apis.streams.frames import FrameSplitter
from budget_middleware.apis.streams.ndjson import LineSplitter
from budget_middleware.apis.streams.splitting import Splitter
from budget_middleware.apis.streams.sse import EventSplitter
from budget_middleware.headers import HeaderTable


class Framing(Enum):
    """What a body consists of. UNKNOWN: the content type does not say; the first byte will. OPAQUE: no JSON at all."""

    EVENTS = auto()
    LINES = auto()
    FRAMES = auto()
    JSON = auto()
    UNKNOWN = auto()
    OPAQUE = auto()


# Python 3.11 takes ten times as long to find the member of an enum as a global.
_EVENTS: Final = Framing.EVENTS
_FRAMINGS: Final = {
    b"": Framing.UNKNOWN,
    b"text/plain": Framing.UNKNOWN,
    b"application/json": Framing.JSON,
    b"text/event-stream": Framing.EVENTS,
    b"application/x-ndjson": Framing.LINES,
    b"application/ndjson": Framing.LINES,
    b"application/jsonl": Framing.LINES,
    b"application/vnd.amazon.eventstream": Framing.FRAMES,
}
_SPLITTERS: Final[Mapping[Framing, type[EventSplitter | LineSplitter | FrameSplitter]]] = {
    Framing.EVENTS: EventSplitter,
    Framing.LINES: LineSplitter,
    Framing.FRAMES: FrameSplitter,
}


@lru_cache(64)  # Answers have few of them.
def framing_of(content_type: bytes) -> Framing:
    """The framing that a content type stands for."""
    media_type = content_type.partition(b";")[0].strip().lower()
    return Framing.JSON if media_type.endswith(b"+json") else _FRAMINGS.get(media_type, Framing.OPAQUE)


def is_event_stream(headers: HeaderTable) -> bool:
    """Whether an answer comes as events, as long as it takes."""
    return framing_of(headers.get(b"content-type", b"")) is _EVENTS


def splitter_of(framing: Framing, *, max_event_bytes: int) -> Splitter | None:
    """What splits a stream of this framing; None for what is no stream."""
    splitter = _SPLITTERS.get(framing)
    return splitter(max_event_bytes=max_event_bytes) if splitter is not None else None
