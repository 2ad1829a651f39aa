"""A file that is put in the place of another must not get the other one's write-ahead log.

Theory of operation. SQLite finds a file's log (``-wal``) and the index of that (``-shm``) by their names, and takes
what it finds there. So where a file is moved away, and a copy into its place, while processes have it open or after
they were killed, the copy would get pages of the other file, and be damaged for good. Who opens a file notes, in the
file of the turns, which file had which log; whoever finds that log beside another file removes it first. Those that
have the old file open go on with its own log, which has no name any more, until they see that the file was replaced.

A log that came with its file, as after a copy of the whole folder, is another one than that which was noted: it stays.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has none; there a file that is open cannot be replaced.
    fcntl = None  # type: ignore[assignment]


@contextmanager
def own_log(path: Path) -> Iterator[None]:
    """While a file is opened in the block, and with it its log: remove that of another file before, note it after.

    Where nothing can be noted it goes without, as SQLite does. Nothing is noted of what could not be opened.
    """
    noted = path.with_name(f"{path.name}-turns")
    with _alone(noted):
        with suppress(OSError):
            if _is_of_another(path, noted.read_bytes()):
                for each in (_log(path), path.with_name(f"{path.name}-shm")):
                    each.unlink(missing_ok=True)
        yield
        with suppress(OSError):
            _write_pair(_pair(path), noted)


@contextmanager
def _alone(noted: Path) -> Iterator[None]:
    """Nobody else is at the notes, if there are any yet."""
    file = None
    with suppress(OSError):
        file = os.open(noted, os.O_RDWR | os.O_CLOEXEC)
    try:
        if file is not None and fcntl is not None:
            # Of another sort than the locks of turns; but closing it ends the turn of this process, a courtesy less.
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        if file is not None:
            os.close(file)


def _write_pair(pair: bytes, noted: Path) -> None:
    file = os.open(noted, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.pread(file, len(pair) + 1, 0) != pair:
            os.ftruncate(file, 0)
            os.pwrite(file, pair, 0)
    finally:
        os.close(file)


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _pair(path: Path) -> bytes:
    return f"{_number(path)} {_number(_log(path))}".encode()


def _number(path: Path) -> int:
    """What tells a file from others for as long as somebody has it open."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _is_of_another(path: Path, note: bytes) -> bool:
    """Whether the log is that which was noted, and the file is not."""
    file, _, log = note.partition(b" ")
    return log not in (b"", b"0") and log == b"%d" % _number(_log(path)) and file != b"%d" % _number(path)
