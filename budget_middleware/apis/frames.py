"""AWS event stream: length-prefixed binary frames, as Bedrock streams.

    total length (4 bytes) · header length (4) · their checksum (4) · headers · payload · checksum of all (4)

Checksums are the client's to check: a frame that they would refuse is read as far as its lengths make sense.
"""

from typing import Final

from budget_middleware.apis.splitting import MAX_EVENT_BYTES, Event

_PRELUDE_BYTES: Final = 12
_CHECKSUM_BYTES: Final = 4
_SHORTEST_FRAME: Final = _PRELUDE_BYTES + _CHECKSUM_BYTES


class FrameSplitter:
    """Splits a stream at its frames; the data of one are its payload."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.skipped = False
        self._max_event_bytes = max_event_bytes
        self._rest = bytearray()
        # Bytes still to come of a frame that is too long to keep.
        self._to_skip = 0

    def feed(self, piece: bytes) -> list[Event]:
        """The frames that this piece completes, and pieces of those that are too long to keep."""
        self._rest += piece
        events = []
        while (length := self._next_length()) and len(self._rest) >= length:
            events.append(Event(raw := bytes(self._rest[:length]), None if self._to_skip else _payload_of(raw)))
            del self._rest[:length]
            self._to_skip = max(0, self._to_skip - length)
        return events

    def flush(self) -> list[Event]:
        """What is left when the stream ends: a frame that is not whole, which nobody reads."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [Event(rest, None)] if rest else []

    def _next_length(self) -> int:
        """How many bytes to take next, 0 if that is not known yet; of too long a frame what is there."""
        if not self._to_skip and len(self._rest) >= _PRELUDE_BYTES:
            length = int.from_bytes(self._rest[:4])
            if _SHORTEST_FRAME <= length <= self._max_event_bytes:
                return length
            # Too long, or no frame at all: then nothing after it can be found either.
            self._to_skip = length if length > self._max_event_bytes else 1 << 62
            self.skipped = True
        return min(self._to_skip, len(self._rest))


def _payload_of(frame: bytes) -> bytes | None:
    header_bytes = int.from_bytes(frame[4:8])
    return frame[_PRELUDE_BYTES + header_bytes : -_CHECKSUM_BYTES] or None
