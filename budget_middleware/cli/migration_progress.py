"""Shows how far a migration is: a bar that is drawn over on a terminal, else a line now and then."""

import time
from collections.abc import Callable
from typing import TextIO

from budget_middleware.cli.output import PROGRAM
from budget_middleware.operations.migrating import Phase, Progress
from budget_middleware.operations.wording import counted

_WIDTH = 30
_EVERY_S = 10.0


class MigrationProgress:
    """Called with each step of a migration."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._clock = clock
        self._phase: Phase | None = None
        self._next_s = 0.0
        self._is_drawn = False

    def __call__(self, progress: Progress) -> None:
        if self._is_terminal:
            self._draw(f"\r\x1b[K{_text(progress)}")
            self._is_drawn = True
        elif progress.phase is not self._phase or self._clock() >= self._next_s:
            self._next_s = self._clock() + _EVERY_S
            self._draw(f"{PROGRAM}: {_text(progress)}\n")
        self._phase = progress.phase

    def end(self) -> None:
        """Leave the last state where it stands."""
        if self._is_drawn:
            self._draw("\n")
            self._is_drawn = False

    def _draw(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _text(progress: Progress) -> str:
    if progress.phase is Phase.FOLLOWING:
        quiet = f", quiet for {progress.quiet_s:.0f} s" if progress.quiet_s >= 1 else "; move the gateways now"
        return (
            f"following: {progress.entries:,} entries of the source's journal, {progress.holds:,} pending there{quiet}"
        )
    filled = _WIDTH * progress.done // max(1, progress.total)
    return (
        f"{progress.phase} [{'#' * filled}{'.' * (_WIDTH - filled)}]"
        f" {progress.done:,} of {counted(progress.total, 'counter')}"
    )
