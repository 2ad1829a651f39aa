"""A request's body: read once for the estimate, then given to the app as if nobody had touched it."""

from collections.abc import Sequence
from functools import lru_cache

from starlette.types import Message, Receive, Scope

from budget_middleware.apis.form import parse_form
from budget_middleware.apis.reading import UNREADABLE, parse_body
from budget_middleware.headers import HeaderTable


class RequestBody:
    """Reads a body up to a bound, and replays it; nothing of it is kept after that.

    ``raw`` holds what was read, ``document`` what that says: the fields of a form as far as it was read, for they come
    before its files, else the JSON value of a whole body, or UNREADABLE. ``is_whole``: all of it was read, and it is no
    longer than ``max_bytes``; of a longer body the app gets the rest from the server itself. ``is_client_gone``: the
    client left before it had sent everything. ``headers`` are the request's.
    """

    def __init__(self, receive: Receive, *, headers: HeaderTable, max_bytes: int) -> None:
        self.headers = headers
        self._receive = receive
        self._max_bytes = max_bytes
        self._has_more = True
        self._is_replayed = False
        self.raw = b""
        self.document: object = UNREADABLE
        self.is_whole = False
        self.is_client_gone = False

    async def read(self) -> None:
        chunks = []
        n_bytes = 0
        while self._has_more and n_bytes <= self._max_bytes:
            message = await self._receive()
            if message["type"] != "http.request":
                self.is_client_gone = True
                return
            # Some layers put something else there that holds bytes, and only bytes can be parsed.
            chunks.append(bytes(message.get("body", b"")))
            n_bytes += len(chunks[-1])
            self._has_more = message.get("more_body", False)
        self.raw = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.is_whole = n_bytes <= self._max_bytes
        form = parse_form(self.raw, self.headers.first(b"content-type"), n_bytes=self.length())
        if form is not None:
            self.document = form
        elif self.is_whole:
            self.document = parse_body(self.raw)

    def length(self) -> int:
        """The body's length in bytes, before it is replayed: what was read, or what the client announced if more."""
        if not self._has_more:
            return len(self.raw)
        announced = self.headers.first(b"content-length")
        # int() would take signs, underscores and other alphabets' digits.
        is_number = announced.isdigit() and len(announced) < 20
        return max(len(self.raw), int(announced)) if is_number else len(self.raw)

    def replayed(self) -> Message | None:
        """The body that was read, as the app's first message; None once the app has it."""
        if self._is_replayed:
            return None
        self._is_replayed = True
        # An answer may take minutes, and a long conversation is thousands of objects.
        raw, self.raw, self.document = self.raw, b"", UNREADABLE
        return {"type": "http.request", "body": raw, "more_body": self._has_more}


def with_body_length(scope: Scope, length: int) -> Scope:
    """The scope of a request whose body was rewritten. One that announced no length still announces none."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-length"]
    if len(headers) < len(scope["headers"]):
        headers.append((b"content-length", str(length).encode()))
    return {**scope, "headers": headers}


def with_readable_answer(scope: Scope, offers: Sequence[bytes]) -> Scope:
    """The scope of a request that offers these encodings, whose answer must come in one that can be read here."""
    if not offers:
        return scope
    kept = b"gzip, identity" if _takes_gzip(b",".join(offers).lower()) else b"identity"
    others = [(name, value) for name, value in scope["headers"] if name.lower() != b"accept-encoding"]
    return {**scope, "headers": [*others, (b"accept-encoding", kept)]}


@lru_cache(64)
def _takes_gzip(offers: bytes) -> bool:
    """Whether an offer names gzip with a weight above 0, or names every coding and does not refuse gzip."""
    takes = {}
    for offer in offers.split(b","):
        coding, _, weight = offer.partition(b";")
        takes[coding.strip().removeprefix(b"x-")] = weight.replace(b" ", b"").rstrip(b"0.") != b"q="
    return takes.get(b"gzip", takes.get(b"*", False))
