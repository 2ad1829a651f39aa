"""One POST over HTTP/1.1, and what was answered. It follows no redirect, reads no body, and ends when its time is up.

The URL is an operator's, from BUDGET_ALERTS: nothing of a request or an account is ever part of it. A redirect would
let the receiver choose another address within the gateway's network, so it is an answer like any other.
"""

import asyncio
import ssl
from functools import cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from budget_middleware.alerts.shapes import Post

_HEAD_MAX = 65_536
_RETRY_AFTER_MAX_S = 3_600


class Answered(NamedTuple):
    """The status of an answer, 0 for none; ``why`` is a line for operators, "" where it was taken."""

    status: int
    why: str
    retry_after_s: int = 0

    @property
    def is_taken(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        """Whether asking again would get the same answer."""
        return 300 <= self.status < 500 and self.status not in _ASK_AGAIN


_ASK_AGAIN = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    # A proxy in front, or a token that is being replaced.
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
)


async def post(url: str, message: Post, *, timeout_s: float) -> Answered:
    """Send it. Whatever goes wrong is a value."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _post(url, message)
    except TimeoutError:
        return Answered(0, f"no answer within {timeout_s:g} s")
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        # An error of the network names addresses, never the path of the URL.
        return Answered(0, " ".join(f"{type(error).__name__}: {error}".split())[:200])


async def _post(url: str, message: Post) -> Answered:
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        host, parts.port or (443 if is_tls else 80), ssl=_tls() if is_tls else None, limit=_HEAD_MAX
    )
    try:
        writer.write(_head(parts.netloc, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", message))
        writer.write(message.body)
        await writer.drain()
        return await _answer(reader)
    finally:
        writer.transport.abort()


def _head(host: str, path: str, message: Post) -> bytes:
    headers = {
        "host": host,
        "user-agent": "budget-middleware",
        "content-type": "application/json",
        "content-length": str(len(message.body)),
        "connection": "close",
        **message.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("ascii")


async def _answer(reader: asyncio.StreamReader) -> Answered:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        words = first.split(" ", 2)
        if not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdecimal():
            raise ValueError("the receiver does not speak HTTP/1.1")
        status = int(words[1])
        if status >= 200 or status == HTTPStatus.SWITCHING_PROTOCOLS:
            return Answered(status, _why(status), _retry_after_s(lines))


def _why(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if status == HTTPStatus.GONE:
        return "it answers 410: it is gone, remove it from BUDGET_ALERTS"
    return f"it answers {status}{': redirects are not followed' if 300 <= status < 400 else ''}"


def _retry_after_s(lines: list[str]) -> int:
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "retry-after" and value.strip().isdecimal():
            return min(int(value), _RETRY_AFTER_MAX_S)
    return 0


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
