"""A JSON array that arrives element by element, as Gemini streams where it is not asked for server-sent events."""

import re
from typing import Final

from budget_middleware.apis.streams.splitting import MAX_EVENT_BYTES, Event

_OUTSIDE_STRING: Final = re.compile(rb'[^"{}\[\]]*+')
# Possessive, so that a long string leaves no trail to come back on.
_INSIDE_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


class ArraySplitter:
    """Splits an array at the ends of the objects in it."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.skipped = False
        self._max_event_bytes = max_event_bytes
        self._rest = bytearray()
        self._read = 0
        self._depth = 0
        self._in_string = False
        self._skipping = False

    @property
    def unfinished_bytes(self) -> int:
        """How many of the last bytes belong to an event that is not complete yet."""
        return len(self._rest)

    def feed(self, piece: bytes) -> list[Event]:
        """The objects that this piece completes, and pieces of those that are too long to keep."""
        self._rest += piece
        events = []
        while self._find_end():
            events.append(self._event())
        if self._skipping or len(self._rest) > self._max_event_bytes:
            self._skipping, self.skipped = True, True
            events.append(Event(bytes(self._rest[: self._read]), None))
            del self._rest[: self._read]
            self._read = 0
        return [event for event in events if event.raw]

    def flush(self) -> list[Event]:
        """What is left when the stream ends: the end of the array, or of a broken one whatever came."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [Event(rest, None)] if rest else []

    def _find_end(self) -> bool:
        """Read on to the end of an object of the array, if it is there."""
        while self._read < len(self._rest):
            skipped = (_INSIDE_STRING if self._in_string else _OUTSIDE_STRING).match(self._rest, self._read)
            assert skipped, "both patterns match the empty string"
            self._read = skipped.end()
            # At the end of the piece, or at a backslash whose next byte is still to come.
            if self._read == len(self._rest) or self._rest[self._read] == ord("\\"):
                return False
            if self._step(self._rest[self._read]):
                return True
        return False

    def _step(self, byte: int) -> bool:
        """Take a quote or a bracket; whether it ends an object of the array."""
        self._read += 1
        if byte == ord('"'):
            self._in_string = not self._in_string
            return False
        opens = byte in b"{["
        self._depth = max(0, self._depth + (1 if opens else -1))
        return not opens and self._depth == 1

    def _event(self) -> Event:
        raw = bytes(self._rest[: self._read])
        del self._rest[: self._read]
        self._read = 0
        if self._skipping or len(raw) > self._max_event_bytes:
            self._skipping, self.skipped = False, True
            return Event(raw, None)
        return Event(raw, raw.lstrip(b" \t\r\n,[") or None)
