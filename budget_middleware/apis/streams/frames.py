"""AWS event stream: length-prefixed binary frames, as Bedrock streams.

    total length (4 bytes) · header length (4) · their checksum (4) · headers · payload · checksum of all (4)

Checksums are the client's to check: a frame that they would refuse is read as far as its lengths make sense.
"""

import zlib
from typing import Final

from budget_middleware.apis.streams.splitting import MAX_EVENT_BYTES, Event

_PRELUDE_BYTES: Final = 12
_CHECKSUM_BYTES: Final = 4
_SHORTEST_FRAME: Final = _PRELUDE_BYTES + _CHECKSUM_BYTES
# The type of a header whose value is text.
_TEXT: Final = b"\x07"


class FrameSplitter:
    """Splits a stream at its frames; the data of one are its payload."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.skipped = False
        self._max_event_bytes = max_event_bytes
        self._rest = bytearray()
        # Bytes still to come of a frame that is too long to keep.
        self._to_skip = 0

    @property
    def unfinished_bytes(self) -> int:
        """How many of the last bytes belong to an event that is not complete yet."""
        return len(self._rest)

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


def exception_frame(kind: str, payload: bytes) -> bytes:
    """A frame that ends a stream by an exception of this kind, with a JSON object."""
    names = {b":message-type": b"exception", b":exception-type": kind.encode(), b":content-type": b"application/json"}
    headers = b"".join([_text_header(name, value) for name, value in names.items()])
    total = _SHORTEST_FRAME + len(headers) + len(payload)
    lengths = total.to_bytes(4) + len(headers).to_bytes(4)
    frame = lengths + zlib.crc32(lengths).to_bytes(4) + headers + payload
    return frame + zlib.crc32(frame).to_bytes(4)


def _text_header(name: bytes, value: bytes) -> bytes:
    return len(name).to_bytes(1) + name + _TEXT + len(value).to_bytes(2) + value


def _payload_of(frame: bytes) -> bytes | None:
    header_bytes = int.from_bytes(frame[4:8])
    return frame[_PRELUDE_BYTES + header_bytes : -_CHECKSUM_BYTES] or None
