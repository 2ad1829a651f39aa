"""Processes that write to one file take turns, in about the order in which they came.

Theory of operation. SQLite lets a process that waits look again after a pause, so a busy one that never rests would get
its lock over and over while another sleeps. A turn is two locks of a file beside the database, which the kernel hands
over at once:

    wait for the queue ──> wait for the turn ──> leave the queue ──> write ──> end the turn

Who ends a turn and wants the next one has to pass the queue, and there the next in line stands until it has its own. A
turn is a courtesy: what keeps writers apart is SQLite's own lock, so whatever goes wrong here is passed over. The
kernel ends the turn of a process that dies.
"""

import os
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has none; there SQLite's own pauses decide who is next.
    fcntl = None  # type: ignore[assignment]

_QUEUE, _TURN = 0, 1


class Turns:
    """The turns of this process at one file; not for two threads at once."""

    def __init__(self, path: Path) -> None:
        self._file: int | None = None
        if fcntl is not None:
            with suppress(OSError):
                # Locks of the whole process, which a forked child does not have.
                self._file = os.open(path.with_name(f"{path.name}-turns"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def begin(self) -> None:
        """Wait for our turn, for as long as it takes."""
        if self._file is not None:
            # EDEADLK where the kernel takes threads of two processes for a circle.
            with suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _QUEUE)
                fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _TURN)
            with suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _QUEUE)

    def end(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TURN)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
