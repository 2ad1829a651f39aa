"""The spool's file: endings that wait for the store on disk, so that they outlive their process.

It is one file a process, locked as long as the process lives. A file whose lock is free belonged to a process that is
gone; the process that finds it takes its endings over. Lines are JSON: an ending that is owed, or the key of one that
is not owed any more. A line that was cut off by a crash is no line.

What is read here is booked, so a file is only believed if nobody else can have written it: a plain file of our own
user, without another name, that only its owner may write. A symbolic link is not followed. Anything else is left where
it is, with one line in the log. A file with lines that no ledger writes (see ``spool_lines``) is kept under another
name once its endings are taken over.
"""

import fcntl
import logging
import os
import secrets
import stat
import threading
from pathlib import Path
from typing import IO

from budget_middleware.ledger.endings.spool_lines import SpooledEnding, from_line, settled_line, to_line
from budget_middleware.stores.records.records import NewerFormat

_SUFFIX = ".owed"
# Also what a process of the previous format left. It in turn leaves alone what it could not read.
_ADOPTED = (_SUFFIX, ".endings")
_TOO_OLD = ".too-old"
_REFUSED = ".refused"
_CUT_OFF = "it was cut off by a crash"
_OWNER_ONLY = 0o600
_WRITABLE_BY_OTHERS = 0o022

_log = logging.getLogger("budget_middleware")


class SpoolFile:
    """The file of one process in ``folder``, made when it is first needed. Raises OSError where the disk does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None
        self._path: Path | None = None
        self._pid = 0
        self._owed: set[str] = set()
        self._reported: set[Path] = set()
        self._sync = Sync()

    def add(self, *spooled: SpooledEnding) -> None:
        """Write endings down: from now on they outlive this process, and in a moment the machine."""
        file = self._open()
        self._owed.update(each.key for each in spooled)
        file.writelines(map(to_line, spooled))
        file.flush()
        self._sync.request(file.fileno())

    def remove(self, spooled: SpooledEnding) -> None:
        """An ending is not owed any more. Unsynced: to book one again changes nothing."""
        if spooled.key not in self._owed:
            return
        self._owed.discard(spooled.key)
        file = self._open()
        if self._owed:
            file.write(settled_line(spooled.key))
        else:
            file.seek(0)
            file.truncate()
        file.flush()

    def set_aside(self, spooled: SpooledEnding) -> None:
        """Move an ending to a file of its own, which no process takes over."""
        with _create(self._folder / f"{secrets.token_hex(8)}{_TOO_OLD}") as file:
            file.write(to_line(spooled))
            file.flush()
            os.fsync(file.fileno())
        self.remove(spooled)

    def adopt(self) -> list[SpooledEnding]:
        """Take over what processes that are gone have left: now in this process's file, no longer in theirs."""
        adopted: list[SpooledEnding] = []
        if not self._folder.is_dir():
            return adopted
        for path in sorted(path for suffix in _ADOPTED for path in self._folder.glob(f"*{suffix}")):
            if path != self._path:
                adopted += self._adopt_file(path)
        return adopted

    def _adopt_file(self, path: Path) -> list[SpooledEnding]:
        try:
            with _open_own(path) as left:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.fstat(left.fileno()).st_nlink:
                    return []
                owed, flaws = _read(left)
                if owed:
                    self.add(*owed)
                    # Before it leaves the other file: with the machine's power it must not be lost from both.
                    os.fsync(self._open().fileno())
                if set(flaws) - {_CUT_OFF}:
                    path.rename(path.with_suffix(_REFUSED))
                else:
                    path.unlink()
        except (BlockingIOError, FileNotFoundError):
            # Its process lives, or somebody else was faster.
            return []
        except (OSError, NewerFormat) as error:
            if path not in self._reported:
                self._reported.add(path)
                why = f"it {error}" if isinstance(error, NewerFormat) else error
                _log.error("%s cannot be taken over: %s", path, why)
            return []
        if flaws:
            _log.error("%d lines of %s cannot be read and are not booked: %s", len(flaws), path, flaws[0])
        if owed:
            _log.warning("took over %d endings of a process that is gone from %s", len(owed), path)
        return owed

    def _open(self) -> IO[str]:
        pid = os.getpid()
        if self._file is None or self._pid != pid:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._folder / f"{pid}-{secrets.token_hex(4)}.new"
            file = _create(new)
            try:
                # Held open, and so locked, until the process ends. Locked before it has the name that others look for.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._path = new.rename(new.with_suffix(_SUFFIX))
            except BaseException:
                file.close()
                raise
            self._file, self._pid, self._owed = file, pid, set()
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


def _create(path: Path) -> IO[str]:
    """A new file that only its owner may read or write, whatever the process's umask is."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, _OWNER_ONLY)
    os.fchmod(descriptor, _OWNER_ONLY)
    return os.fdopen(descriptor, "a+", encoding="utf-8")


def _open_own(path: Path) -> IO[str]:
    """A file that nobody but our own user can have written. PermissionError for any other; no link is followed."""
    # Not blocking: somebody may have put a named pipe there, for which an opening process waits.
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_own(os.fstat(descriptor))
        os.fchmod(descriptor, _OWNER_ONLY)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")


def _require_own(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise PermissionError("it is no plain file")
    if found.st_uid != os.geteuid():
        raise PermissionError(f"it belongs to user {found.st_uid}, and this process is of user {os.geteuid()}")
    if found.st_nlink > 1:
        raise PermissionError("it has another name (a hard link)")
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise PermissionError("others may write it; if it is yours, chmod 600 it")


class Sync:
    """Syncs a file off the event loop: writes during one sync share the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_running = self._is_wanted = False

    def request(self, descriptor: int) -> None:
        """Sync everything written so far, in the background. A failing disk is logged."""
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
            while self._has_more_to_sync():
                os.fsync(descriptor)
        except OSError as error:
            self._is_running = False
            _log.error("BUDGET_SPOOL_PATH cannot be synced: %s", error)
        finally:
            os.close(descriptor)

    def _has_more_to_sync(self) -> bool:
        with self._lock:
            self._is_running, self._is_wanted = self._is_wanted, False
            return self._is_running


def refused_in(folder: Path) -> list[Path]:
    """The files with lines that no ledger writes."""
    return sorted(folder.glob(f"*{_REFUSED}"))


def set_aside_in(folder: Path) -> list[Path]:
    """The files of endings that came too late for the store to know whether they were booked."""
    return sorted(folder.glob(f"*{_TOO_OLD}"))


def _read(left: IO[str]) -> tuple[list[SpooledEnding], list[str]]:
    """What is owed, and why other lines are no endings. NewerFormat where a newer version is to read them."""
    owed: dict[str, SpooledEnding] = {}
    flaws: list[str] = []
    for line in left:
        try:
            found = from_line(line)
        except NewerFormat:
            raise
        except ValueError as error:
            flaws.append(str(error) if line.endswith("\n") else _CUT_OFF)
            continue
        if isinstance(found, str):
            owed.pop(found, None)
        else:
            owed[found.key] = found
    return list(owed.values()), flaws
