"""Bounds the bytes of request bodies that a worker has read from clients and the app has not taken yet."""

from budget_middleware.request.deadlines import Deadlines


class TooManyBodiesError(Exception):
    """There is no room for more bytes now."""


class BodiesInHand:
    """Bounds the bodies of one event loop, in sum and in time. Every byte taken is given back."""

    def __init__(self, max_bytes: int, timeout_s: float) -> None:
        self.max_bytes = max_bytes
        self.deadlines = Deadlines(timeout_s)
        self.n_bytes = self.n_waiting_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Take so many bytes in hand. TooManyBodiesError if there is no room; then nothing is taken."""
        if self.n_bytes + n_bytes > self.max_bytes:
            raise TooManyBodiesError
        self.n_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Give back bytes that were taken."""
        self.n_bytes -= n_bytes
