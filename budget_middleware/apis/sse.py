"""Splitting a byte stream into server-sent events, whatever the sizes it arrives in (HTML standard, 9.2.6).

No byte is lost: the raw bytes of all events, and of the flushed rest, are the stream.
"""

import re
from typing import Final, NamedTuple

# No chunk of an LLM comes near it; a longer event is passed on unread, so that memory stays bounded.
MAX_EVENT_BYTES: Final = 1 << 20

# A CR that is last may be half of a CRLF: its next byte decides. Written out twice rather than as `{2}`, for
# then the search skips to the first line end and is four times as fast.
_LINE_END: Final = rb"(?:\r\n|\n|\r(?=[^\n]))"
_EVENT_END: Final = re.compile(_LINE_END * 2)
# An end of which one byte is missing can begin so far back.
_LONGEST_PARTIAL_END: Final = 3
_BOM: Final = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event as received, its blank line included. `data` is None without a data field, or unread."""

    raw: bytes
    data: bytes | None


class EventSplitter:
    """Turns pieces of a stream into events; one for each stream."""

    def __init__(self) -> None:
        # Some event was longer than MAX_EVENT_BYTES and has not been read.
        self.skipped = False
        self._rest = bytearray()
        self._searched = 0
        self._skipping = False
        self._at_start = True

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes, and pieces of events that are too long to keep."""
        self._rest += piece
        events, start = [], 0
        while end := _EVENT_END.search(self._rest, max(start, self._searched)):
            events.append(self._event(bytes(self._rest[start : end.end()])))
            start = end.end()
        del self._rest[:start]
        self._searched = max(0, len(self._rest) - _LONGEST_PARTIAL_END)
        if self._skipping or len(self._rest) > MAX_EVENT_BYTES:
            events += self._skip()
        return events

    def flush(self) -> list[Event]:
        """What is left when the stream ends: an event without its blank line is read all the same."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [self._event(rest)] if rest else []

    def _event(self, raw: bytes) -> Event:
        text = raw.removeprefix(_BOM) if self._at_start else raw
        self._at_start = False
        if self._skipping or len(raw) > MAX_EVENT_BYTES:
            self._skipping, self.skipped = False, True
            return Event(raw, None)
        return Event(raw, _data_of(text))

    def _skip(self) -> list[Event]:
        """Pass on what is there of too long an event, but for what may be the beginning of its end."""
        self._skipping, self.skipped = True, True
        raw = bytes(self._rest[: self._searched])
        del self._rest[: self._searched]
        self._searched = 0
        return [Event(raw, None)] if raw else []


def _data_of(event: bytes) -> bytes | None:
    lines = event.splitlines()  # Of bytes: at LF, CR and CRLF only.
    values = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(values) if values else None
