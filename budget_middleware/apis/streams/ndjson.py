"""JSON lines: a JSON value on each line, as Ollama streams."""

import re
from typing import Final

from budget_middleware.apis.streams.splitting import MAX_EVENT_BYTES, DelimitedSplitter

_LINE_END: Final = re.compile(rb"\n")


class LineSplitter(DelimitedSplitter):
    """Splits a stream at its line ends."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(_LINE_END, longest_partial_end=0, max_event_bytes=max_event_bytes)

    def data_of(self, raw: bytes) -> bytes | None:
        """The line; None if it is blank."""
        return raw.strip() or None
