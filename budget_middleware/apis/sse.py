"""Server-sent events (HTML standard, 9.2.6)."""

import re
from typing import Final

from budget_middleware.apis.splitting import MAX_EVENT_BYTES, DelimitedSplitter, Event

# A CR that is last may be half of a CRLF: its next byte decides. Written out twice rather than as `{2}`, for
# then the search skips to the first line end and is four times as fast.
_LINE_END: Final = rb"(?:\r\n|\n|\r(?=[^\n]))"
EVENT_END: Final = re.compile(_LINE_END * 2)
"""A blank line, and the end of the line before it."""
# An end of which one byte is missing can begin so far back.
_LONGEST_PARTIAL_END: Final = 3
_BOM: Final = b"\xef\xbb\xbf"
_BLANK_LINES: Final = (b"\n\n", b"\r\n\r\n")


class EventSplitter(DelimitedSplitter):
    """Splits a stream of server-sent events at their blank lines."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(EVENT_END, longest_partial_end=_LONGEST_PARTIAL_END, max_event_bytes=max_event_bytes)
        self._at_start = True

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes, and pieces of events that are too long to keep."""
        plain = plain_events(piece) if self.is_between_events and len(piece) <= self._max_event_bytes else None
        if plain is None:
            return super().feed(piece)
        self._at_start = False
        end, events = plain
        return [Event(before + data + end, data.removeprefix(b" ")) for before, data in events]

    def data_of(self, raw: bytes) -> bytes | None:
        """The values of the data fields, by lines; None if there is none."""
        text = raw.removeprefix(_BOM) if self._at_start else raw
        self._at_start = False
        lines = text.splitlines()  # Of bytes: at LF, CR and CRLF only.
        values = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:") or line == b"data"]
        return b"\n".join(values) if values else None


def plain_events(piece: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]] | None:
    """A piece that consists of plain events: what ends each of them, and of each what stands before its data, and the
    data. None for any other piece.

    Plain is an event of one `data:` line, with at most an `event:` line before it; as nearly all are.
    """
    for blank_line in _BLANK_LINES:
        if piece.endswith(blank_line):
            break
    else:
        return None
    line_end = blank_line[: len(blank_line) // 2]
    *texts, _ = piece.split(blank_line)
    events = []
    for text in texts:
        before, field, data = text.partition(b"data:")
        # JSON has no line end but between its tokens, where it would be a line of its own.
        if not field or b"\n" in data or b"\r" in data or not (not before or _is_event_line(before, line_end)):
            return None
        events.append((before + field, data))
    return blank_line, events


def _is_event_line(line: bytes, line_end: bytes) -> bool:
    name = line.removesuffix(line_end)
    return line.startswith(b"event:") and len(name) < len(line) and b"\n" not in name and b"\r" not in name
