"""Answers that are read while they pass to the client: they are asked for uncompressed, and kept up to a length."""

from starlette.types import Scope


def with_plain_answer(scope: Scope) -> Scope:
    """The scope of a request whose answer must not be compressed."""
    return {**scope, "headers": [field for field in scope["headers"] if field[0].lower() != b"accept-encoding"]}


class KeptAnswer:
    """Keeps an answer until it has more than ``max_bytes``: a beginning of a longer one, which is then no JSON."""

    def __init__(self, max_bytes: int) -> None:
        self.body = bytearray()
        self._max_bytes = max_bytes

    def feed(self, piece: bytes) -> None:
        if len(self.body) <= self._max_bytes:
            self.body += piece
