"""Shows on stderr how far a long command has come."""

import time
from collections.abc import Callable

from budget_middleware.cli.output import print_error

_FIRST_S = 2.0


class Progress:
    """Called with how many of how many are done; says so after two seconds, then after four, eight and so on."""

    def __init__(self, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._began = clock()
        self._next_s = _FIRST_S

    def __call__(self, done: int, total: int) -> None:
        if self._clock() - self._began < self._next_s:
            return
        print_error(f"{done:,} of {total:,} {self._what}")
        self._next_s *= 2
