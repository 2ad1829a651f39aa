"""Server-sent events (HTML standard, 9.2.6)."""

import re
from typing import Final

from budget_middleware.apis.splitting import MAX_EVENT_BYTES, DelimitedSplitter

# A CR that is last may be half of a CRLF: its next byte decides. Written out twice rather than as `{2}`, for
# then the search skips to the first line end and is four times as fast.
_LINE_END: Final = rb"(?:\r\n|\n|\r(?=[^\n]))"
EVENT_END: Final = re.compile(_LINE_END * 2)
"""A blank line, and the end of the line before it."""
# An end of which one byte is missing can begin so far back.
_LONGEST_PARTIAL_END: Final = 3
_BOM: Final = b"\xef\xbb\xbf"


class EventSplitter(DelimitedSplitter):
    """Splits a stream of server-sent events at their blank lines."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES, at_start: bool = True) -> None:
        super().__init__(EVENT_END, longest_partial_end=_LONGEST_PARTIAL_END, max_event_bytes=max_event_bytes)
        self._at_start = at_start

    def data_of(self, raw: bytes) -> bytes | None:
        """The values of the data fields, by lines; None if there is none."""
        text = raw.removeprefix(_BOM) if self._at_start else raw
        self._at_start = False
        lines = text.splitlines()  # Of bytes: at LF, CR and CRLF only.
        values = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:") or line == b"data"]
        return b"\n".join(values) if values else None
