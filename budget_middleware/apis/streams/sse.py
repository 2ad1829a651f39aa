"""Server-sent events (HTML standard, 9.2.6)."""

import re
from typing import Final

from budget_middleware.apis.streams.splitting import MAX_EVENT_BYTES, DelimitedSplitter, Event

# A CR that is last may be half of a CRLF: its next byte decides. Written out twice rather than as `{2}`, for
# then the search skips to the first line end and is four times as fast.
_LINE_END: Final = rb"(?:\r\n|\n|\r(?=[^\n]))"
EVENT_END: Final = re.compile(_LINE_END * 2)
"""A blank line, and the end of the line before it."""
# An end of which one byte is missing can begin so far back.
_LONGEST_PARTIAL_END: Final = 3
_BOM: Final = b"\xef\xbb\xbf"
# `in` finds a number in bytes several times as fast as it finds bytes.
_CR: Final = ord("\r")
_LF: Final = ord("\n")


class EventSplitter(DelimitedSplitter):
    """Splits a stream of server-sent events at their blank lines."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(EVENT_END, longest_partial_end=_LONGEST_PARTIAL_END, max_event_bytes=max_event_bytes)
        self._at_start = True

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes, and pieces of events that are too long to keep."""
        if not self.is_between_events or not 0 < len(piece) <= self._max_event_bytes:
            return super().feed(piece)
        if (data := data_of_plain_event(piece)) is not None:
            self._at_start = False
            return [Event(piece, data.removeprefix(b" "))]
        plain = plain_events(piece)
        if plain is None:
            return super().feed(piece)
        self._at_start = False
        behind_data = 4 if piece.endswith(b"\r\n") else 2
        begins = [0, *(end + behind_data for _, end in plain)]
        return [
            Event(piece[begin : end + behind_data], piece[start:end].removeprefix(b" "))
            for begin, (start, end) in zip(begins, plain, strict=False)
        ]

    def data_of(self, raw: bytes) -> bytes | None:
        """The values of the data fields, by lines; None if there is none."""
        text = raw.removeprefix(_BOM) if self._at_start else raw
        self._at_start = False
        lines = text.splitlines()  # Of bytes: at LF, CR and CRLF only.
        values = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:") or line == b"data"]
        return b"\n".join(values) if values else None


def data_of_plain_event(piece: bytes) -> bytes | None:
    """The data of a piece that is one plain event, as by far the most are; None for any other piece.

    Behind the data are two line feeds and nothing else. See `plain_events` for what is plain.
    """
    behind = piece.removeprefix(b"data:")
    if len(behind) == len(piece):
        name, _, behind = piece.partition(b"\ndata:")
        if _LF in name or not name.startswith(b"event:"):
            return None
    data, _, rest = behind.partition(b"\n")
    return data if rest == b"\n" and _CR not in piece else None


def plain_events(piece: bytes) -> list[tuple[int, int]] | None:
    """Where the data of each event begin and end in a piece that consists of plain events; None for any other piece.

    Plain is an event of one `data:` line, with at most an `event:` line before it; as nearly all are.
    """
    line_end = b"\n"
    if _CR in piece:
        line_end = b"\r\n"
        # No CR and no LF stands alone, so that lines end where `line_end` is found.
        if not piece.count(line_end) == piece.count(b"\r") == piece.count(b"\n"):
            return None
    blank_line = line_end * 2
    spans, at = [], 0
    while at < len(piece):
        if piece.startswith(b"event:", at):
            name_end = piece.find(line_end, at)
            if name_end < 0:
                return None
            at = name_end + len(line_end)
        end = piece.find(line_end, at)
        if not piece.startswith(b"data:", at) or not piece.startswith(blank_line, end):
            return None
        spans.append((at + len(b"data:"), end))
        at = end + len(blank_line)
    return spans
