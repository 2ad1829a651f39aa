"""Reading an answer while it passes: what is kept of it, and the bytes to forward. Knows no ASGI."""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from itertools import chain
from typing import Final

from budget_middleware.apis.base import Api, Seen
from budget_middleware.apis.bedrock import usage_in_headers
from budget_middleware.apis.bounded_answer import is_heavy, lightened
from budget_middleware.apis.frames import FrameSplitter
from budget_middleware.apis.inflater import Inflater
from budget_middleware.apis.json_array import ArraySplitter
from budget_middleware.apis.ndjson import LineSplitter
from budget_middleware.apis.reading import UNREADABLE, parse_body
from budget_middleware.apis.skimming import Skim, Skimmer, facts_of
from budget_middleware.apis.splitting import MAX_EVENT_BYTES, Event, Splitter
from budget_middleware.apis.sse import EventSplitter
from budget_middleware.headers import NO_HEADERS, Headers, HeaderTable

# What no longer describes a body that we rewrite.
_OF_THE_BODY: Final = (b"content-length", b"etag")
_JSON_BLANKS: Final = b" \t\r\n"
# Of `data:`, `event:`, `id:`, `retry:` and comments; none of them begins a JSON value.
_EVENT_STARTS: Final = (b"d", b"e", b"i", b"r", b":")


class _Kind(Enum):
    EVENTS = auto()
    LINES = auto()
    FRAMES = auto()
    JSON = auto()
    UNTOLD = auto()
    OPAQUE = auto()


_KINDS: Final = {
    b"": _Kind.UNTOLD,
    b"text/plain": _Kind.UNTOLD,
    b"application/json": _Kind.JSON,
    b"text/event-stream": _Kind.EVENTS,
    b"application/x-ndjson": _Kind.LINES,
    b"application/ndjson": _Kind.LINES,
    b"application/jsonl": _Kind.LINES,
    b"application/vnd.amazon.eventstream": _Kind.FRAMES,
}
_SPLITTERS: Final[Mapping[_Kind, type[EventSplitter | LineSplitter | FrameSplitter]]] = {
    _Kind.EVENTS: EventSplitter,
    _Kind.LINES: LineSplitter,
    _Kind.FRAMES: FrameSplitter,
}


# The headers by which gateways tell that they had an answer in store: LiteLLM names its key then alone, the others tell
# hits from misses.
_CACHE_KEY: Final = b"x-litellm-cache-key"
_CACHE_HEADERS: Final = frozenset({
    *(_CACHE_KEY, b"x-openrouter-cache-status", b"x-portkey-cache-status", b"cf-aig-cache-status", b"helicone-cache")
})  # fmt: skip
_HITS: Final = frozenset({b"hit", b"semantic hit"})


class AnswerReader:
    """Follows one answer of an API and gathers its facts in `seen`; raises nothing, whatever the bytes.

    `headers` are those that the answer begins with. A chunk that is not the last is given to `skim`,
    and to `feed` if that does not take it.
    With `hide_usage`, events are forwarded whole, as soon as they are complete, without the usage that the
    client did not ask for. In every other case each byte is forwarded at once, as it came.
    Of a JSON answer, and of what one compressed chunk expands to, at most `max_body_bytes` are kept; so of one event,
    or MAX_EVENT_BYTES if that is more.
    """

    def __init__(self, api: Api, *, hide_usage: bool, max_body_bytes: int) -> None:
        self.seen = Seen()
        self.headers = NO_HEADERS
        self._api = api
        self._hide_usage = hide_usage
        self._max_body_bytes = max_body_bytes
        self._max_event_bytes = max(max_body_bytes, MAX_EVENT_BYTES)
        self._kind = _Kind.OPAQUE
        self._inflater: Inflater | None = None
        self._splitter: Splitter | None = None
        self._body = bytearray()
        self._first_byte = b""
        self._misses_text = False
        # Made for streams alone.
        self._skimmer: Skimmer | None = None
        # Only for a chunk that begins between two events.
        self._skim: Skim | None = None

    def begin(self, status: int, headers: Headers) -> Headers:
        """Take the start of the answer; return the headers to send."""
        self.headers = HeaderTable(headers)
        self.seen.is_from_cache = any(map(self._tells_a_hit, self.headers.among(_CACHE_HEADERS)))
        encoding = self._header(b"content-encoding")
        # An error has no usage, and what is encoded otherwise cannot be read without more libraries.
        if not 200 <= status < 300 or encoding not in (b"", b"identity", b"gzip", b"x-gzip"):
            self._hide_usage = False
            return headers
        self.seen.header_usage = usage_in_headers(self.headers)
        self._kind = _kind_of(self._header(b"content-type"))
        if self._kind in _SPLITTERS:
            self._splitter = _SPLITTERS[self._kind](max_event_bytes=self._max_event_bytes)
        # Where it is not told, and may turn out to be a stream, no header speaks of its bytes.
        is_free = self._kind is _Kind.UNTOLD and not encoding and not self._header(b"content-length")
        self._hide_usage = self._hide_usage and (is_free or self._kind is _Kind.EVENTS)
        dropped: tuple[bytes, ...] = _OF_THE_BODY
        if encoding in (b"gzip", b"x-gzip"):
            self._inflater = Inflater(max_bytes_per_feed=self._max_body_bytes)
            dropped = (*_OF_THE_BODY, b"content-encoding")
        return [pair for pair in headers if pair[0].lower() not in dropped] if self._hide_usage else headers

    def _tells_a_hit(self, name: bytes) -> bool:
        value = self.headers.first(name).strip().lower()
        return value in _HITS or (name == _CACHE_KEY and value != b"")

    def _header(self, name: bytes) -> bytes:
        """The values of a header, lower-cased and joined; empty where there is none."""
        values = self.headers.all(name)
        return b",".join([value.strip().lower() for value in values]) if values else b""

    def skim(self, chunk: object) -> bytes | None:
        """The bytes to forward now of a chunk that need not be parsed; None if it is to be fed."""
        skim = self._skim
        # What only holds bytes, such as a memoryview, is fed as well, and so is what may be too long an event.
        if skim is None or type(chunk) is not bytes or len(chunk) > self._max_event_bytes:
            return None
        skimmed = skim(chunk)
        if skimmed is None:
            return None
        text_bytes, forwarded = skimmed
        self.seen.text_bytes += text_bytes
        self.seen.chunks += text_bytes > 0
        return forwarded

    def feed(self, chunk: bytes, *, last: bool) -> bytes:
        """Take the next bytes of the body; return those to forward now."""
        if self._kind is _Kind.OPAQUE:
            return chunk
        if last and self._is_whole_object(chunk):
            self._read_body(chunk)
            return chunk
        pieces: Iterable[bytes] = (chunk,) if self._inflater is None else self._inflater.feed(chunk)
        if self._splitter is None:
            pieces = self._keep(pieces)
        if self._splitter is None:
            if last and self._kind in (_Kind.JSON, _Kind.UNTOLD):
                self._read_body(self._body)
            return chunk
        facts_before, began_between = facts_of(self.seen), self._is_between_events
        forwarded = self._read(self._splitter, pieces, last=last)
        is_between = self._is_between_events
        if self._skimmer is not None and facts_of(self.seen) != facts_before:
            # One that is like those before it would tell again what has been told otherwise since, however that came.
            self._skimmer.skim = None
        if began_between and is_between:
            self._skimmer = self._skimmer or Skimmer()
            self._skimmer.learn(chunk, self.seen, parse=self._parse)
        self._skim = self._skimmer.skim if is_between and self._skimmer is not None else None
        return forwarded if self._hide_usage else chunk

    @property
    def _is_between_events(self) -> bool:
        return isinstance(self._splitter, EventSplitter) and self._inflater is None and self._splitter.is_between_events

    def _read(self, splitter: Splitter, pieces: Iterable[bytes], *, last: bool) -> bytes:
        forwarded = bytearray()
        for event in self._events(splitter, pieces, last=last):
            forwarded += self._read_event(event, self.seen)
        self._misses_text |= splitter.skipped or (self._inflater is not None and self._inflater.broken)
        # Nobody knows what was in it.
        self.seen.has_unread_output |= self._misses_text
        self.seen.readable &= not self._misses_text
        return bytes(forwarded)

    def _parse(self, chunk: bytes, seen: Seen) -> bytes:
        """As if a chunk of whole events were fed that is not the first, on what else was seen."""
        events = EventSplitter(max_event_bytes=self._max_event_bytes, at_start=False).feed(chunk)
        forwarded = b"".join(self._read_event(event, seen) for event in events)
        return forwarded if self._hide_usage else chunk

    def _events(self, splitter: Splitter, pieces: Iterable[bytes], *, last: bool) -> Iterator[Event]:
        for piece in pieces:
            yield from splitter.feed(piece)
        if last:
            yield from splitter.flush()

    def _read_event(self, event: Event, seen: Seen) -> bytes:
        if event.data is None:
            return event.raw
        if is_heavy(event.data):
            # It is passed on as it came, with a usage that the client did not ask for if it holds one.
            self._api.read_event(lightened(event.data), seen, hide_usage=False)
            self._misses_text = True
            return event.raw
        data = self._api.read_event(event.data, seen, hide_usage=self._hide_usage)
        if data is None:
            return b""
        # Data that were spread over several lines are not found again, and stay as they are.
        return event.raw if data is event.data else event.raw.replace(event.data, data, 1)

    def _keep(self, pieces: Iterable[bytes]) -> Iterable[bytes]:
        """Keep what is there of a JSON answer. If it is an array, or events, that is given back to be split."""
        rest = iter(pieces)
        for piece in rest:
            if len(self._body) + len(piece) > self._max_body_bytes:
                self._kind = _Kind.OPAQUE
                self._body.clear()
                return ()
            self._body += piece
            self._first_byte = self._first_byte or piece.lstrip(_JSON_BLANKS)[:1]
            if self._first_byte == b"[":
                self._hide_usage = False
                self._splitter = ArraySplitter(max_event_bytes=self._max_event_bytes)
                return chain((bytes(self._body),), rest)
            if self._kind is _Kind.UNTOLD and self._first_byte in _EVENT_STARTS:
                # The blanks that came before were forwarded, and say nothing.
                self._splitter = EventSplitter(max_event_bytes=self._max_event_bytes)
                return chain((piece,), rest)
        return ()

    def _is_whole_object(self, chunk: bytes) -> bool:
        """Whether it is all of a JSON answer, and nothing that has to be split."""
        return (
            self._kind is _Kind.JSON
            and chunk.startswith(b"{")
            and not self._body
            and self._inflater is None
            and len(chunk) <= self._max_body_bytes
        )

    def _read_body(self, body: bytes | bytearray) -> None:
        if is_heavy(body):
            self._api.read_json(parse_body(lightened(bytes(body))), self.seen)
            self.seen.has_unread_output, self.seen.readable = True, False
            return
        document = parse_body(body)
        if document is not UNREADABLE:
            self._api.read_json(document, self.seen)


def _kind_of(content_type: bytes) -> _Kind:
    media_type = content_type.partition(b";")[0].strip()
    return _Kind.JSON if media_type.endswith(b"+json") else _KINDS.get(media_type, _Kind.OPAQUE)
