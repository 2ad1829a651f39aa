"""A request's body: read once for the estimate, then given to the app as if nobody had touched it."""

from starlette.types import Message, Receive, Scope


class RequestBody:
    """Reads a body up to a bound, and replays it.

    ``raw`` holds what was read. A body beyond ``max_bytes`` is not read further: ``is_whole`` is False, and the
    app gets the rest from the server itself. ``is_client_gone``: the client left before it had sent everything.
    """

    def __init__(self, receive: Receive, *, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._is_replayed = False
        self.raw = b""
        self.is_whole = False
        self.is_client_gone = False

    async def read(self) -> None:
        message = await self._receive()
        chunks = []
        n_bytes = 0
        while message["type"] == "http.request":
            chunk = message.get("body", b"")
            chunks.append(chunk)
            n_bytes += len(chunk)
            self.is_whole = not message.get("more_body", False)
            if self.is_whole or n_bytes > self._max_bytes:
                break
            message = await self._receive()
        else:
            self.is_client_gone = True
        self.raw = chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def length(self, scope: Scope) -> int:
        """The body's length in bytes: what was read, or what the client announced if that is more."""
        announced = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"")
        # int() would take signs, underscores and other alphabets' digits.
        is_number = announced.isdigit() and len(announced) < 20
        return max(len(self.raw), int(announced)) if is_number and not self.is_whole else len(self.raw)

    async def receive(self) -> Message:
        """The app's ``receive``: the body that was read, then whatever the server has to say."""
        if self._is_replayed:
            return await self._receive()
        self._is_replayed = True
        return {"type": "http.request", "body": self.raw, "more_body": not self.is_whole}


def with_body_length(scope: Scope, length: int) -> Scope:
    """The scope of a request whose body was rewritten: one content-length, and it is right."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def with_readable_answer(scope: Scope) -> Scope:
    """The scope of a request whose answer must not come in an encoding that cannot be read here."""
    headers = []
    for name, value in scope["headers"]:
        if name.lower() != b"accept-encoding":
            headers.append((name, value))
        elif not any(kept_name == b"accept-encoding" for kept_name, _ in headers):
            takes_gzip = any(_takes_gzip(offer) for offer in value.lower().split(b","))
            headers.append((b"accept-encoding", b"gzip, identity" if takes_gzip else b"identity"))
    return {**scope, "headers": headers}


def _takes_gzip(offer: bytes) -> bool:
    coding, _, weight = offer.partition(b";")
    is_refused = weight.replace(b" ", b"").rstrip(b"0.") == b"q="
    return coding.strip() in (b"gzip", b"x-gzip", b"*") and not is_refused
