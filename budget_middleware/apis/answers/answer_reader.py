"""Reads an answer while it passes through: gathers its facts and returns the bytes to forward. Knows no ASGI.

Theory of operation. The exchange calls `begin` with the status and headers of an answer, then `pass_ordinary` or `feed`
with each chunk of its body. Both return the bytes to forward now; usage, model, text and end of the answer go into
`seen`.

    chunk ──> pass_ordinary ── all its events are ordinary ──────────────────> add_to(seen), forward
                   │ anything else
                   v
                 feed ──> inflater ──> splitter ──> event ── is ordinary ────> add_to(seen)
                           (gzip)         │            └──── anything else ──> api.read_event: the full reader
                                          │
                                          └ no splitter: one document, kept to its end ──> api.read_json

- *Framing.* The content type says what the body consists of: server-sent events, JSON lines, Bedrock's frames, or one
  JSON document. If it says nothing, the first byte decides: `[` begins an array, whose elements are events, and `d`,
  `e`, `i`, `r` or `:` a stream of events. OPAQUE bodies (errors, unknown encodings, no JSON) are forwarded unread.
- *Ordinary events* are nearly all events of a stream. A typed decoder reads one in about 2 us, and `pass_ordinary`
  takes a chunk of them without a splitter. It is open between events only: the first chunk, and a chunk that continues
  an event, go through `feed`.
- *Hidden usage.* If we asked for the usage on the client's behalf (`hide_usage`), an event is forwarded as soon as it
  is complete, without its usage. In every other case each byte is forwarded at once, as it came.
- *Bounds.* An event, a document, and what one compressed chunk expands to are read up to a size. Whatever is longer is
  forwarded unread, and `seen` says so (`has_unread_output`): then the estimate is booked, and not nothing. Documents
  with so many values that parsing them would block the event loop are first cut down to the fields that are read.

Nothing here raises, whatever the bytes.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from budget_middleware.apis.answers.event_reader import EventReader
from budget_middleware.apis.answers.long_answers import LongAnswer
from budget_middleware.apis.answers.served_model import NAMING_HEADERS, has_fallen_back, served_model_in
from budget_middleware.apis.aws.usage import MODE_HEADERS, USAGE_HEADER, modes_in_headers, usage_in_headers
from budget_middleware.apis.bodies.bounded_answer import is_heavy, lightened
from budget_middleware.apis.bodies.inflater import Inflater
from budget_middleware.apis.bodies.reading import UNREADABLE, parse_body
from budget_middleware.apis.jobs.batches import BatchApi
from budget_middleware.apis.protocol.base import Api, Refusal
from budget_middleware.apis.protocol.ordinary import OrdinaryEvent, OrdinaryReader
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.shared.stream_errors import error_event
from budget_middleware.apis.streams.framing import Framing, framing_of, splitter_of
from budget_middleware.apis.streams.json_array import ArraySplitter
from budget_middleware.apis.streams.splitting import MAX_EVENT_BYTES, Event, Splitter
from budget_middleware.apis.streams.sse import EventSplitter, data_of_plain_event, plain_events
from budget_middleware.headers import NO_HEADERS, Headers, HeaderTable

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_JSON: Final = Framing.JSON
_UNKNOWN: Final = Framing.UNKNOWN
_OPAQUE: Final = Framing.OPAQUE
# Headers that no longer describe a body that we rewrite.
_OF_THE_BODY: Final = (b"content-length", b"etag")
_JSON_BLANKS: Final = b" \t\r\n"
# Of `data:`, `event:`, `id:`, `retry:` and comments; none of them begins a JSON value.
_EVENT_STARTS: Final = (b"d", b"e", b"i", b"r", b":")

# Headers of gateways that answer from a cache: LiteLLM sends its key on hits only, the others say hit or miss.
_CACHE_KEY: Final = b"x-litellm-cache-key"
_CACHE_HEADERS: Final = frozenset({
    *(_CACHE_KEY, b"x-openrouter-cache-status", b"x-portkey-cache-status", b"cf-aig-cache-status", b"helicone-cache")
})  # fmt: skip
# Most answers have none of these.
_TELLING_HEADERS: Final = _CACHE_HEADERS | NAMING_HEADERS | MODE_HEADERS | {USAGE_HEADER, b"location"}
_HITS: Final = frozenset({b"hit", b"semantic hit"})


class AnswerReader:
    """Follows one answer of an API and gathers its facts in `seen`; raises nothing, whatever the bytes.

    `headers` are those that the answer begins with. A chunk that is not the last may be given to `pass_ordinary`,
    and is to be given to `feed` if that does not take it.
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
        self._framing: Framing = _OPAQUE
        self._inflater: Inflater | None = None
        self._splitter: Splitter | None = None
        self._body = bytearray()
        # Of a document that is longer than may be kept.
        self._long: LongAnswer | None = None
        self._first_byte = b""
        self._misses_text = False
        # Of a stream.
        self._events: EventReader | None = None
        self._ordinary: OrdinaryReader | None = None
        # The next chunk does not begin in the midst of an event, and nothing stands between it and its reader.
        self._may_pass = False

    def begin(self, status: int, headers: Headers) -> Headers:
        """Take the start of the answer; return the headers to send."""
        self.headers = by_name = HeaderTable(headers)
        says_more = not _TELLING_HEADERS.isdisjoint(self.headers)
        if says_more:
            self.seen.is_from_cache = any(map(self._reports_cache_hit, self.headers.keys() & _CACHE_HEADERS))
        encoding = self.headers.joined(b"content-encoding") if b"content-encoding" in self.headers else b""
        # An error has no usage, and what is encoded otherwise cannot be read without more libraries.
        if not 200 <= status < 300 or encoding not in (b"", b"identity", b"gzip", b"x-gzip"):
            self._hide_usage = False
            return headers
        if says_more:
            self.seen.header_usage = usage_in_headers(self.headers)
            self.seen.modes = modes_in_headers(self.headers)
            self.seen.served_model = served_model_in(self.headers)
            self.seen.has_fallen_back = has_fallen_back(self.headers)
            if isinstance(self._api, BatchApi) and b"location" in self.headers:
                self._api.read_location(self.headers[b"location"].decode("latin-1"), self.seen)
        content_type = by_name.joined(b"content-type") if by_name.repeated else by_name.get(b"content-type", b"")
        self._framing = framing_of(content_type)
        if self._framing is not _JSON:
            splitter = splitter_of(self._framing, max_event_bytes=self._max_event_bytes)
            if splitter is not None:
                self._split(splitter)
        # An unknown body may turn out to be a stream; then no header may describe its bytes.
        is_free = self._framing is _UNKNOWN and not encoding and not self.headers.joined(b"content-length")
        self._hide_usage = self._hide_usage and (is_free or self._framing is Framing.EVENTS)
        dropped: tuple[bytes, ...] = _OF_THE_BODY
        if encoding in (b"gzip", b"x-gzip"):
            self._inflater = Inflater(max_bytes_per_feed=self._max_body_bytes)
            dropped = (*_OF_THE_BODY, b"content-encoding")
        return [pair for pair in headers if pair[0].lower() not in dropped] if self._hide_usage else headers

    def _reports_cache_hit(self, name: bytes) -> bool:
        value = self.headers.get(name, b"").strip().lower()
        return value in _HITS or (name == _CACHE_KEY and value != b"")

    def _split(self, splitter: Splitter) -> None:
        """From now on the body is a stream of events."""
        self._splitter = splitter
        self._events = EventReader(self._api)
        self._ordinary = self._events.ordinary

    def pass_ordinary(self, chunk: object) -> bytes | None:
        """The bytes to forward now of a chunk that consists of ordinary events; None if it is to be fed.

        The first chunk is always fed, and so is one that completes the answer.
        """
        # What only holds bytes, such as a memoryview, is fed as well.
        if not self._may_pass or self._ordinary is None or type(chunk) is not bytes:
            return None
        data = data_of_plain_event(chunk)
        if data is None:
            return self._pass_several(chunk, reader=self._ordinary)
        event = self._ordinary.read(data)
        if event is None:
            return None
        if self._hide_usage:
            shown = event.without_usage(data)
            if shown is None:
                return None
            if shown is not data:
                chunk = chunk[: -len(data) - 2] + shown + b"\n\n"
        event.add_to(self.seen)
        return chunk

    def _pass_several(self, chunk: bytes, *, reader: OrdinaryReader) -> bytes | None:
        """The same of several events, of several lines: none of them counts before all are known to be ordinary."""
        spans = plain_events(chunk)
        if not spans:
            return None
        events = []
        for start, end in spans:
            event = reader.read(chunk[start:end])
            if event is None:
                return None
            events.append(event)
        forwarded: bytes | None = chunk
        if self._hide_usage:
            forwarded = _without_usage(chunk, spans, events)
            if forwarded is None:
                return None
        for event in events:
            event.add_to(self.seen)
        return forwarded

    def feed(self, chunk: bytes, *, last: bool) -> bytes:
        """Take the next bytes of the body; return those to forward now."""
        if self._framing is _OPAQUE:
            return chunk
        if (
            last
            and self._framing is _JSON
            and chunk.startswith(b"{")
            and not self._body
            and self._inflater is None
            and len(chunk) <= self._max_body_bytes
        ):
            # As nearly every answer that is no stream: one document in one chunk.
            self._read_body(chunk)
            return chunk
        pieces: Iterable[bytes] = (chunk,) if self._inflater is None else self._inflater.feed(chunk)
        if self._long is not None:
            for piece in pieces:
                self._long.feed(piece)
        elif self._splitter is None:
            pieces = self._gather(pieces)
        if self._splitter is None:
            if last and self._framing in (_JSON, _UNKNOWN):
                self._read_gathered()
            return chunk
        forwarded = self._read(self._splitter, pieces, last=last)
        splits_events = isinstance(self._splitter, EventSplitter) and self._splitter.is_between_events
        self._may_pass = splits_events and self._inflater is None and not self._misses_text
        return forwarded if self._hide_usage else chunk

    def read_whole(self) -> bool:
        """Whether a document is there as a whole though nobody has said that it ends; it is read then."""
        if self._long is not None:
            return self._read_gathered()
        is_gathered = self._splitter is None and self._framing in (_JSON, _UNKNOWN)
        # A part of one hardly ends so, and need not be parsed.
        if not is_gathered or not self._body.rstrip(_JSON_BLANKS).endswith(b"}"):
            return False
        return self._read_gathered()

    @property
    def can_be_stopped(self) -> bool:
        """Whether an error may follow the events so far: all of them were read, and nothing describes the bytes."""
        is_as_sent = self._inflater is None and not self.headers.joined(b"content-length")
        return self._splitter is not None and (self._hide_usage or is_as_sent) and not self._misses_text

    def stopped_after(self, forwarded: bytes, refusal: Refusal) -> bytes:
        """The last bytes of a stream that can be stopped: the whole events of what would be forwarded, and an error."""
        assert self._splitter is not None, "only what is split can be stopped"
        # Where usage is hidden, only whole events are forwarded.
        unfinished = 0 if self._hide_usage else self._splitter.unfinished_bytes
        return forwarded[: len(forwarded) - unfinished] + error_event(self._api, refusal, self._splitter)

    def _read(self, splitter: Splitter, pieces: Iterable[bytes], *, last: bool) -> bytes:
        forwarded = bytearray()
        for piece in pieces:
            for event in splitter.feed(piece):
                forwarded += self._read_event(event)
        if last:
            for event in splitter.flush():
                forwarded += self._read_event(event)
        is_broken = self._inflater is not None and self._inflater.broken
        has_cut = self._events is not None and self._events.has_cut
        self._misses_text |= splitter.skipped or is_broken or has_cut
        # What was skipped may have been output.
        self.seen.has_unread_output |= self._misses_text
        self.seen.readable &= not self._misses_text
        return bytes(forwarded)

    def _read_event(self, event: Event) -> bytes:
        """Read an event; what the client gets of it."""
        raw, data = event
        if data is None:
            return raw
        assert self._events is not None, "what is split has a reader"
        shown = self._events.read(data, self.seen, hide_usage=self._hide_usage)
        if shown is None:
            return b""
        # Data that were spread over several lines are not found again, and stay as they are.
        return raw if shown is data else raw.replace(data, shown, 1)

    def _gather(self, pieces: Iterable[bytes]) -> Iterable[bytes]:
        """Keep the pieces of a JSON document. Of an array, or of events, return them: they are to be split."""
        rest = iter(pieces)
        for piece in rest:
            if len(self._body) + len(piece) > self._max_body_bytes:
                self._long = LongAnswer(bytes(self._body))
                self._body.clear()
                for each in chain((piece,), rest):
                    self._long.feed(each)
                return ()
            self._body += piece
            self._first_byte = self._first_byte or piece.lstrip(_JSON_BLANKS)[:1]
            if self._first_byte == b"[":
                self._hide_usage = False
                self._split(ArraySplitter(max_event_bytes=self._max_event_bytes))
                return chain((bytes(self._body),), rest)
            if self._framing is _UNKNOWN and self._first_byte in _EVENT_STARTS:
                # The blanks that came before were forwarded, and say nothing.
                self._split(EventSplitter(max_event_bytes=self._max_event_bytes))
                return chain((piece,), rest)
        return ()

    def _read_gathered(self) -> bool:
        # Once: what comes behind it is no part of it.
        self._framing = _OPAQUE
        return self._read_body(self._body) if self._long is None else self._read_long(self._long)

    def _read_long(self, answer: LongAnswer) -> bool:
        """Read what was found of a document that was not kept; whether that has its usage."""
        self._long = None
        if not (document := answer.finish()):
            return False
        self._api.read_json(document, self.seen)
        self.seen.has_unread_output, self.seen.readable = True, False
        return True

    def _read_body(self, body: bytes | bytearray) -> bool:
        """Read a document; whether it is one."""
        kind = self._api.ordinary_answer
        answer = OrdinaryReader.of(kind).read(body) if kind is not None else None
        if answer is not None:
            answer.add_to(self.seen)
            return True
        if is_heavy(body):
            short = lightened(bytes(body))
            self._api.read_json(parse_body(short), self.seen)
            self.seen.has_unread_output, self.seen.readable = True, False
            return short != b"{}"
        document = parse_body(body)
        if document is not UNREADABLE:
            self._api.read_json(document, self.seen)
        return document is not UNREADABLE


def _without_usage(chunk: bytes, spans: Sequence[tuple[int, int]], events: Sequence[OrdinaryEvent]) -> bytes | None:
    """What a client gets of these events that asked for no usage; None if the full reader has to decide."""
    pieces: list[bytes] = []
    begin = 0
    for (start, end), event in zip(spans, events, strict=True):
        shown = event.without_usage(chunk[start:end])
        if shown is None:
            return None
        pieces += (chunk[begin:start], shown)
        begin = end
    return b"".join((*pieces, chunk[begin:]))
