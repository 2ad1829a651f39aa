"""Answers that are read while they pass to the client: whole and uncompressed, and kept up to a length."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.bodies.bounded_answer import is_heavy
from budget_middleware.apis.bodies.inflater import Inflater
from budget_middleware.apis.bodies.reading import UNREADABLE, parse_body
from budget_middleware.apis.streams.framing import is_event_stream
from budget_middleware.headers import HeaderTable
from budget_middleware.request.bodies.field_masks import in_one_piece
from budget_middleware.request.jobs.pieces import feed_in_pieces

_OK: Final = 200
_GZIP: Final = frozenset({b"gzip", b"x-gzip"})
_READABLE: Final = _GZIP | {b"", b"identity"}
# It is inflated in small pieces, none of which is kept.
_MOST_INFLATED_BYTES: Final = 1 << 40


async def pass_and_read(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    feed: Callable[[bytes], None] | None,
    at_end: Callable[[], Awaitable[None]],
    reads_on: bool = False,
) -> None:
    """Let the app answer, and read the body of a good answer, piece by piece.

    ``at_end`` is awaited before the client gets the last piece: it may go on at once, at another worker. What nobody
    is to ``feed`` on may come compressed, or as a part. With ``reads_on`` the app hears that the client has gone only
    when all has been read: who leaves before the last piece has had what came before it.
    """
    answer = _PassingAnswer(feed, at_end)
    client = LeavingClient(receive, send, answer.is_over) if reads_on else None

    async def send_and_read(message: Message) -> None:
        await answer.read(message)
        if client is None:
            await send(message)
            return
        client.reads_on &= not answer.ends_with_client
        await client.send(message)

    receive = client.receive if client is not None else receive
    try:
        await app(in_one_piece(scope) if feed is not None else scope, receive, send_and_read)
    finally:
        answer.is_over.set()


class _PassingAnswer:
    """Reads what passes. Of what is encoded in any other way than by gzip nothing is read, nor of what is corrupt."""

    def __init__(self, feed: Callable[[bytes], None] | None, at_end: Callable[[], Awaitable[None]]) -> None:
        self.is_over = asyncio.Event()
        self.ends_with_client = False
        self._feed = feed
        self._at_end = at_end
        self._is_read = False
        self._inflater: Inflater | None = None

    async def read(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = HeaderTable(message.get("headers", ()))
            encoding = headers.joined(b"content-encoding")
            self._inflater = Inflater(max_bytes_per_feed=_MOST_INFLATED_BYTES) if encoding in _GZIP else None
            self._is_read = message["status"] == _OK and (encoding in _READABLE or self._feed is None)
            if not self._is_read or is_event_stream(headers):
                # It is no job's, and may go on without an end.
                self.ends_with_client = True
                self.is_over.set()
        elif message["type"] == "http.response.body" and self._is_read:
            if self._feed is not None:
                await self._read_body(self._feed, bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                if self._inflater is None or not self._inflater.broken:
                    await self._at_end()
                self.is_over.set()

    async def _read_body(self, feed: Callable[[bytes], None], body: bytes) -> None:
        if self._inflater is None:
            await feed_in_pieces(feed, body)
            return
        for piece in self._inflater.feed(body):
            await feed_in_pieces(feed, piece)
            await asyncio.sleep(0)


class LeavingClient:
    """A client that may leave: what it would have got until the answer ``is_over`` is read all the same, unless nothing
    ``reads_on``.
    """

    def __init__(self, receive: Receive, send: Send, is_over: asyncio.Event, *, reads_on: bool = True) -> None:
        self.reads_on = reads_on
        self._receive = receive
        self._send = send
        self._is_over = is_over
        self._is_gone = False

    async def receive(self) -> Message:
        """The next message; that the client has gone is one when the answer is over."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and self.reads_on:
            self._is_gone = True
            await self._is_over.wait()
        return message

    async def send(self, message: Message) -> None:
        """Send a message, if somebody is there."""
        if self._is_gone:
            return
        try:
            await self._send(message)
        except OSError:
            if not self.reads_on:
                raise
            # As some servers say that it has gone.
            self._is_gone = True


class KeptAnswer:
    """Keeps an answer until it has more than ``max_bytes``: a beginning of a longer one, which is then no JSON."""

    def __init__(self, max_bytes: int) -> None:
        self.body = bytearray()
        self._max_bytes = max_bytes

    def feed(self, piece: bytes) -> None:
        if len(self.body) <= self._max_bytes:
            self.body += piece

    @property
    def document(self) -> object:
        """What it says; UNREADABLE if it is longer, or has more values than may be made objects of in one step."""
        return UNREADABLE if is_heavy(self.body) else parse_body(self.body)
