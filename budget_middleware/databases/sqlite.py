"""Opens files of SQLite, brings them to their schema, and says in one line what keeps them from working.

Every connection is in WAL mode: readers never wait, and one process writes at a time.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

from budget_middleware.databases.errors import DatabaseAway, DatabaseFault
from budget_middleware.databases.migrations import CREATE_VERSIONS, READ_VERSIONS, Steps, missing_statements
from budget_middleware.databases.mounts import network_file_system
from budget_middleware.databases.own_log import own_log
from budget_middleware.databases.urls import SqliteUrl, Synchronous

LEAST_VERSION: Final = (3, 35)
"""`on conflict` of several columns and `returning` came with it; it is of 2021."""

_CACHED_STATEMENTS = 256
_WAL_LIMIT_BYTES = 64 * 2**20
_ASKS_AGAIN_S = 0.005

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def connect(url: SqliteUrl, *, busy_s: float, for_reading: bool = False) -> sqlite3.Connection:
    """A connection that commits by statement only; any thread may use it, one at a time. DatabaseFault.

    The file is made if there is none. ``busy_s`` is how long a statement waits for other processes.
    """
    if sqlite3.sqlite_version_info < LEAST_VERSION:
        raise DatabaseFault(
            "this SQLite is too old", "use a Python with SQLite 3.35 or later", reply=sqlite3.sqlite_version
        )
    if (kind := network_file_system(url.path)) is not None:
        raise DatabaseFault(
            f"{url.path} is on a network file system, on which SQLite cannot keep machines apart",
            "use a local disk, or a server: redis:// or postgresql://",
            reply=kind,
        )
    _make_private(url.path)
    with faults_named(url.path):
        connection = sqlite3.connect(
            url.path,
            timeout=busy_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_CACHED_STATEMENTS,
        )
        try:
            _set_up(connection, url, busy_s=busy_s, for_reading=for_reading)
        except BaseException:
            connection.close()
            raise
    return connection


def _make_private(path: Path) -> None:
    """Make the file, where there is none, for this user only; SQLite gives its log the same rights."""
    # What keeps it from being made SQLite finds out by itself.
    with suppress(OSError):
        # Exclusively: a process that closes a file gives up its locks of it, those of SQLite too.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _set_up(connection: sqlite3.Connection, url: SqliteUrl, *, busy_s: float, for_reading: bool) -> None:
    if (mode := _mode_set(connection, busy_s=busy_s)) != "wal":
        raise DatabaseFault(
            f"SQLite cannot use a write-ahead log for {url.path}",
            "move it to a local disk",
            reply=f"journal mode {mode}",
        )
    connection.execute(f"pragma synchronous = {url.synchronous}")
    connection.execute(f"pragma journal_size_limit = {_WAL_LIMIT_BYTES}")
    connection.execute("pragma temp_store = memory")
    if for_reading:
        connection.execute("pragma query_only = on")


def _mode_set(connection: sqlite3.Connection, *, busy_s: float) -> str:
    """The journal mode after the file was asked for a write-ahead log.

    Who finds a file without one, and another process about to write to it, is told at once that it is locked: SQLite
    cannot know that the two do not wait for each other. Who asks again does not.
    """
    until_s = monotonic() + busy_s
    while True:
        try:
            (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
        except sqlite3.OperationalError as error:
            if _code(error) not in _BUSY or monotonic() >= until_s:
                raise
            sleep(_ASKS_AGAIN_S)
        else:
            return str(mode)


def open_migrated(url: SqliteUrl, component: str, steps: Steps, *, busy_s: float) -> sqlite3.Connection:
    """A connection to a file whose tables of a component are led to the last step. DatabaseFault.

    A file that was put in the place of another gets none of that one's log.
    """
    with own_log(url.path):
        connection = connect(url, busy_s=busy_s)
        try:
            migrate(connection, component, steps, path=url.path)
        except BaseException:
            connection.close()
            raise
    return connection


def migrate(connection: sqlite3.Connection, component: str, steps: Steps, *, path: Path) -> None:
    """Make the tables of a component, or lead them to the last step. DatabaseFault."""
    with faults_named(path):
        if _version(connection, component) == len(steps):
            return
        with transaction(connection):
            connection.execute(CREATE_VERSIONS)
            for statement in missing_statements(component, steps, version=_version(connection, component)):
                connection.execute(statement)


def _version(connection: sqlite3.Connection, component: str) -> int:
    if not connection.execute("select 1 from sqlite_master where name = 'budget_schema'").fetchone():
        return 0
    versions: dict[str, int] = dict(connection.execute(READ_VERSIONS))
    return versions.get(component, 0)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Nobody else writes until its end; what raises is rolled back."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """Where there is something to roll back: some errors have done it already."""
    if connection.in_transaction:
        connection.execute("rollback")


@contextmanager
def faults_named(path: Path) -> Iterator[None]:
    """The errors of SQLite in the block become those of ``errors``."""
    try:
        yield
    except sqlite3.Error as error:
        raise fault_of(error, path) from error


def fault_of(error: sqlite3.Error, path: Path) -> DatabaseFault:
    """What an error of SQLite means for who runs it."""
    reply = str(error)
    code = _code(error)
    if code in _BUSY:
        return DatabaseAway(f"another process has {path} locked", "end what holds it", reply=reply)
    if code == sqlite3.SQLITE_FULL:
        return DatabaseFault(f"the disk of {path} is full", "free space on it", reply=reply)
    if code in _DAMAGED:
        return DatabaseFault(
            f"{path} is damaged, or no file of SQLite",
            "stop all that use it, move it, its -wal and its -shm away, and bring back a copy",
            reply=reply,
        )
    if code == sqlite3.SQLITE_READONLY:
        return DatabaseFault(f"{path} cannot be written", _who_may_write(path), reply=reply)
    if code == sqlite3.SQLITE_CANTOPEN:
        return DatabaseFault(f"{path} cannot be opened", _why_not_opened(path), reply=reply)
    if code == sqlite3.SQLITE_IOERR:
        return DatabaseAway(f"the disk of {path} fails", "look into the system's log", reply=reply)
    return DatabaseFault(f"SQLite refused a statement on {path}", "report it", reply=reply)


def _code(error: sqlite3.Error) -> int:
    """Its primary result code."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _why_not_opened(path: Path) -> str:
    if not path.parent.is_dir():
        return f"make the folder {path.parent}"
    if path.is_dir():
        return "name a file, not a folder"
    return _who_may_write(path)


def _who_may_write(path: Path) -> str:
    return f"let this user (uid {os.geteuid()}) write the file and its folder {path.parent}"


def damage(connection: sqlite3.Connection, path: Path) -> list[str]:
    """What `quick_check` finds wrong with a file; nothing for a sound one. DatabaseFault where it cannot look."""
    try:
        found = [str(line) for (line,) in connection.execute("pragma quick_check(10)")]
    except sqlite3.Error as error:
        if _code(error) in _DAMAGED:
            return [str(error)]
        raise fault_of(error, path) from error
    return [] if found == ["ok"] else found


class FileFacts(NamedTuple):
    """What the system says of a file of SQLite. ``log_bytes`` is what its write-ahead log takes."""

    path: Path
    synchronous: Synchronous
    version: str
    bytes: int
    log_bytes: int
    free_bytes: int
    total_bytes: int


def facts_of(url: SqliteUrl) -> FileFacts:
    """A file that is not there has no bytes. OSError where its folder is not."""
    disk = shutil.disk_usage(url.path.parent)
    log = url.path.with_name(f"{url.path.name}-wal")
    return FileFacts(
        url.path, url.synchronous, sqlite3.sqlite_version, _bytes_of(url.path), _bytes_of(log), disk.free, disk.total
    )


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
