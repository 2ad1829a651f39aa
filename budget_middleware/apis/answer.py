"""Reading an answer while it passes: what is kept of it, and the bytes to forward. Knows no ASGI."""

import zlib
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import Final

from budget_middleware.apis.base import UNREADABLE, Api, Seen, parse_body
from budget_middleware.apis.sse import Event, EventSplitter

Headers = list[tuple[bytes, bytes]]

# zlib's number for a stream with a gzip header.
_GZIP_WBITS: Final = 31
_INFLATE_STEP_BYTES: Final = 1 << 16
# What no longer describes a body that we rewrite.
_OF_THE_BODY: Final = (b"content-length", b"etag")


class _Kind(Enum):
    EVENTS = auto()
    JSON = auto()
    OPAQUE = auto()


class AnswerReader:
    """Follows one answer of an API and gathers its facts in `seen`; raises nothing, whatever the bytes.

    With `hide_usage`, events are forwarded whole, as soon as they are complete, without the usage that the
    client did not ask for. In every other case each byte is forwarded at once, as it came.
    Of a JSON answer, and of what one compressed chunk expands to, at most `max_body_bytes` are kept.
    """

    def __init__(self, api: Api, *, hide_usage: bool, max_body_bytes: int) -> None:
        self.seen = Seen()
        self._api = api
        self._hide_usage = hide_usage
        self._max_body_bytes = max_body_bytes
        self._kind = _Kind.OPAQUE
        self._inflater: Inflater | None = None
        self._splitter = EventSplitter()
        self._body = bytearray()

    def begin(self, status: int, headers: Headers) -> Headers:
        """Take the start of the answer; return the headers to send."""
        encoding = _header(headers, b"content-encoding")
        # An error has no usage, and what is encoded otherwise cannot be read without more libraries.
        if not 200 <= status < 300 or encoding not in (b"", b"identity", b"gzip", b"x-gzip"):
            self._hide_usage = False
            return headers
        self._kind = _kind_of(_header(headers, b"content-type"))
        self._hide_usage = self._hide_usage and self._kind is _Kind.EVENTS
        dropped: tuple[bytes, ...] = _OF_THE_BODY
        if encoding in (b"gzip", b"x-gzip"):
            self._inflater = Inflater(max_bytes_per_feed=self._max_body_bytes)
            dropped = (*_OF_THE_BODY, b"content-encoding")
        return [pair for pair in headers if pair[0].lower() not in dropped] if self._hide_usage else headers

    def feed(self, chunk: bytes, *, last: bool) -> bytes:
        """Take the next bytes of the body; return those to forward now."""
        if self._kind is _Kind.OPAQUE:
            return chunk
        pieces = (chunk,) if self._inflater is None else self._inflater.feed(chunk)
        if self._kind is _Kind.JSON:
            self._keep(pieces)
            if last:
                self._read_body()
            return chunk
        forwarded = bytearray()
        for event in self._events(pieces, last=last):
            forwarded += self._read_event(event)
        if self._splitter.skipped or (self._inflater and self._inflater.broken):
            self.seen.readable = False
        return bytes(forwarded) if self._hide_usage else chunk

    def _events(self, pieces: Iterable[bytes], *, last: bool) -> Iterator[Event]:
        for piece in pieces:
            yield from self._splitter.feed(piece)
        if last:
            yield from self._splitter.flush()

    def _read_event(self, event: Event) -> bytes:
        if event.data is None:
            return event.raw
        data = self._api.read_event(event.data, self.seen, hide_usage=self._hide_usage)
        if data is None:
            return b""
        # Data that were spread over several lines are not found again, and stay as they are.
        return event.raw if data is event.data else event.raw.replace(event.data, data, 1)

    def _keep(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if len(self._body) + len(piece) > self._max_body_bytes:
                self._kind = _Kind.OPAQUE
                self._body.clear()
                return
            self._body += piece

    def _read_body(self) -> None:
        document = parse_body(bytes(self._body))
        if document is not UNREADABLE:
            self._api.read_json(document, self.seen)


class Inflater:
    """Gunzips a stream piece by piece, member after member. What cannot be inflated ends it in silence."""

    def __init__(self, *, max_bytes_per_feed: int) -> None:
        # Corrupt, or one feed expanded beyond the bound; nothing comes out any more.
        self.broken = False
        self._max_bytes_per_feed = max_bytes_per_feed
        self._member = zlib.decompressobj(_GZIP_WBITS)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk expands to, in pieces of bounded size."""
        n_bytes = 0
        piece = b""
        # A full piece may leave some output behind inside zlib, even where no input is left.
        while not self.broken and (chunk or len(piece) == _INFLATE_STEP_BYTES):
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP_WBITS)
            try:
                piece = self._member.decompress(chunk, _INFLATE_STEP_BYTES)
            except zlib.error:
                self.broken = True
                return
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            n_bytes += len(piece)
            self.broken = n_bytes > self._max_bytes_per_feed
            yield piece


def _kind_of(content_type: bytes) -> _Kind:
    media_type = content_type.partition(b";")[0].strip()
    if media_type == b"text/event-stream":
        return _Kind.EVENTS
    if media_type in (b"", b"application/json") or media_type.endswith(b"+json"):
        return _Kind.JSON
    return _Kind.OPAQUE


def _header(headers: Headers, name: bytes) -> bytes:
    """The values of a header, lower-cased and joined; empty where there is none."""
    return b",".join(value.strip().lower() for key, value in headers if key.lower() == name)
