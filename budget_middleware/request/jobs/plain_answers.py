"""Answers that are read while they pass to the client: they are asked for uncompressed, and kept up to a length."""

from collections.abc import Awaitable, Callable, Collection
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OK: Final = (200,)


async def pass_and_read(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    feed: Callable[[bytes], None],
    at_end: Callable[[], Awaitable[None]],
    statuses: Collection[int] = _OK,
    is_read: bool = True,
) -> None:
    """Let the app answer, and read the body of an answer with one of the statuses, piece by piece.

    ``at_end`` is awaited before the client gets the last piece: it may go on at once, at another worker. What is not
    ``is_read`` may come compressed.
    """
    status = 0

    async def send_and_read(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body" and status in statuses:
            feed(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                await at_end()
        await send(message)

    await app(_with_plain_answer(scope) if is_read else scope, receive, send_and_read)


def _with_plain_answer(scope: Scope) -> Scope:
    return {**scope, "headers": [field for field in scope["headers"] if field[0].lower() != b"accept-encoding"]}


def ignore(piece: bytes) -> None:
    """Read nothing of it."""


class KeptAnswer:
    """Keeps an answer until it has more than ``max_bytes``: a beginning of a longer one, which is then no JSON."""

    def __init__(self, max_bytes: int) -> None:
        self.body = bytearray()
        self._max_bytes = max_bytes

    def feed(self, piece: bytes) -> None:
        if len(self.body) <= self._max_bytes:
            self.body += piece
