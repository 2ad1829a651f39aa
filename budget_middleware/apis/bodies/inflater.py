"""Gunzipping a stream as it passes, in bounded memory."""

import zlib
from collections.abc import Iterator
from typing import Final

# zlib's number for a stream with a gzip header.
GZIP_WBITS: Final = 31
# Each member's end copies what is behind it, so many empty ones at once would take time by the square of their length.
MAX_MEMBERS: Final = 1_000
_INFLATE_STEP_BYTES: Final = 1 << 16


class Inflater:
    """Gunzips a stream piece by piece, member after member. What cannot be inflated ends it in silence."""

    def __init__(self, *, max_bytes_per_feed: int) -> None:
        # Corrupt, or one feed expanded beyond a bound; nothing comes out any more.
        self.broken = False
        self._max_bytes_per_feed = max_bytes_per_feed
        self._member = zlib.decompressobj(GZIP_WBITS)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk expands to, in pieces of bounded size."""
        n_bytes = n_members = 0
        piece = b""
        # A full piece may leave some output behind inside zlib, even where no input is left.
        while not self.broken and (chunk or len(piece) == _INFLATE_STEP_BYTES):
            if self._member.eof:
                self._member = zlib.decompressobj(GZIP_WBITS)
                n_members += 1
            try:
                piece = self._member.decompress(chunk, _INFLATE_STEP_BYTES)
            except zlib.error:
                self.broken = True
                return
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            n_bytes += len(piece)
            self.broken = n_bytes > self._max_bytes_per_feed or n_members > MAX_MEMBERS
            yield piece
