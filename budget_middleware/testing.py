"""For tests of gateways behind the middleware, and for our own: time that moves only when it is told to."""


class MovableClock:
    """A clock for `MemoryStore(clock_ms=...)`: calling it tells milliseconds since the Unix epoch.

    It starts in the middle of an hour, day, week and month in UTC, so that no window turns by accident.
    """

    def __init__(self, now_ms: int = 1_795_012_200_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, *, s: int = 0, ms: int = 0) -> None:
        """Let time pass; a negative duration is a step back."""
        self.now_ms += 1000 * s + ms

    def move_to(self, time_ms: int) -> None:
        self.now_ms = time_ms
