"""What waits for the store on disk, so that it outlives its process.

It is one file a process, locked as long as the process lives. A file whose lock is free belonged to a process that is
gone; whoever finds it takes its endings over. Lines are JSON: an ending that is owed, or the key of one that is not
owed any more. A line that was cut off by a crash is no line.
"""

import fcntl
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from budget_middleware.core.model import Finalize, Release
from budget_middleware.stores.packing import pack_targets, unpack_targets

_SUFFIX = ".endings"
_TOO_OLD = ".too-old"

_log = logging.getLogger("budget_middleware")


@dataclass(frozen=True, slots=True)
class SpooledEnding:
    """An ending, when it was first tried (milliseconds since the epoch, by this machine's clock), and for whom."""

    ending: Finalize | Release
    since_ms: int
    reserve_trace: str = ""

    @property
    def key(self) -> str:
        return f"{type(self.ending).__name__.lower()} {self.ending.id}"


class SpoolFile:
    """The file of one process in ``folder``, made when it is first needed. Raises OSError where the disk does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None
        self._path: Path | None = None
        self._pid = 0
        self._owed: set[str] = set()
        self._sync = Sync()

    def add(self, *spooled: SpooledEnding) -> None:
        """Write endings down: from now on they outlive this process, and in a moment the machine."""
        file = self._open()
        self._owed.update(each.key for each in spooled)
        file.writelines(map(_to_line, spooled))
        file.flush()
        self._sync.request(file.fileno())

    def settle(self, spooled: SpooledEnding) -> None:
        """An ending is not owed any more. Unsynced: to book one again changes nothing."""
        if spooled.key not in self._owed:
            return
        self._owed.discard(spooled.key)
        file = self._open()
        if self._owed:
            file.write(json.dumps({"settled": spooled.key}) + "\n")
        else:
            file.seek(0)
            file.truncate()
        file.flush()

    def set_aside(self, spooled: SpooledEnding) -> None:
        """Move an ending to a file of its own, which no process takes over."""
        with (self._folder / f"{secrets.token_hex(8)}{_TOO_OLD}").open("w", encoding="utf-8") as file:
            file.write(_to_line(spooled))
            file.flush()
            os.fsync(file.fileno())
        self.settle(spooled)

    def adopt(self) -> list[SpooledEnding]:
        """Take over what processes that are gone have left: now in this process's file, no longer in theirs."""
        adopted: list[SpooledEnding] = []
        if not self._folder.is_dir():
            return adopted
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if path != self._path:
                adopted += self._adopt_file(path)
        return adopted

    def _adopt_file(self, path: Path) -> list[SpooledEnding]:
        try:
            with path.open("r+", encoding="utf-8", errors="replace") as left:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.fstat(left.fileno()).st_nlink:
                    return []
                owed = list(_owed_in(left, path))
                if owed:
                    self.add(*owed)
                path.unlink()
        except (BlockingIOError, FileNotFoundError):
            # Its process lives, or somebody else was faster.
            return []
        except OSError as error:
            _log.error("%s cannot be taken over: %s", path, error)
            return []
        if owed:
            _log.warning("%d endings of a process that is gone are taken over from %s", len(owed), path)
        return owed

    def _open(self) -> IO[str]:
        if self._file is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Held open, and so locked, until the process ends. Locked before it has the name that others look for.
            new = self._folder / f"{self._pid}-{secrets.token_hex(4)}.new"
            self._file = new.open("a+", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path = new.rename(new.with_suffix(_SUFFIX))
            self._owed = set()
            self._sync = Sync()
        return self._file

    def close(self) -> None:
        """Let go of the file; an empty one is removed, any other is left for who adopts it."""
        if self._file is None or self._pid != os.getpid():
            return
        if not self._owed and self._path is not None:
            self._path.unlink(missing_ok=True)
        # Closing alone would leave it locked as long as it is being synced.
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()
        self._file = None


class Sync:
    """Syncs a file beside the event loop: what is written while one sync runs shares the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_running = self._is_wanted = False

    def request(self, descriptor: int) -> None:
        """Sync what has been written until now. A disk that fails is told in the log."""
        with self._lock:
            self._is_wanted = True
            if self._is_running:
                return
            self._is_running = True
        # Of its own, so that it outlives a file that is closed meanwhile.
        own = os.dup(descriptor)
        threading.Thread(target=self._run, args=(own,), name="budget-middleware-sync", daemon=True).start()

    def _run(self, descriptor: int) -> None:
        try:
            while self._goes_on():
                os.fsync(descriptor)
        except OSError as error:
            self._is_running = False
            _log.error("BUDGET_SPOOL_PATH cannot be synced: %s", error)
        finally:
            os.close(descriptor)

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_running, self._is_wanted = self._is_wanted, False
            return self._is_running


def set_aside_in(folder: Path) -> list[Path]:
    """The files of endings that came too late for the store to know whether they were booked."""
    return sorted(folder.glob(f"*{_TOO_OLD}"))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _to_line(spooled: SpooledEnding) -> str:
    ending = spooled.ending
    document: dict[str, object] = {
        "owed": type(ending).__name__.lower(),
        "id": ending.id,
        "since_ms": spooled.since_ms,
        "reason": ending.reason,
        "reserve_trace": spooled.reserve_trace,
    }
    if isinstance(ending, Finalize):
        document |= {"targets": pack_targets(ending.targets), "actual_nanos": str(ending.actual_nanos)}
    return json.dumps(document) + "\n"


def _owed_in(left: IO[str], path: Path) -> Iterator[SpooledEnding]:
    owed: dict[str, SpooledEnding] = {}
    for line in left:
        try:
            document = json.loads(line)
            if "settled" in document:
                owed.pop(document["settled"], None)
                continue
            spooled = _from_document(document)
        except (ValueError, KeyError, TypeError) as error:
            _log.error("a line of %s cannot be read and is left out: %r (%s)", path, line[:200], error)
            continue
        owed[spooled.key] = spooled
    yield from owed.values()


def _from_document(document: dict[str, str]) -> SpooledEnding:
    ending: Finalize | Release
    if document["owed"] == "finalize":
        ending = Finalize(
            document["id"],
            unpack_targets(document["targets"]),
            int(document["actual_nanos"]),
            reason=document["reason"],
        )
    elif document["owed"] == "release":
        ending = Release(document["id"], reason=document["reason"])
    else:
        raise ValueError(f"no such ending: {document['owed']}")
    return SpooledEnding(ending, int(document["since_ms"]), document["reserve_trace"])
