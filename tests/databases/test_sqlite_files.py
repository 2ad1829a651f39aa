"""Real files of SQLite that cannot be used, and the one line for each."""

import multiprocessing
import os
import resource
import signal
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from budget_middleware.databases import sqlite
from budget_middleware.databases.errors import DatabaseAway, DatabaseFault
from budget_middleware.databases.sqlite import connect, damage, faults_named, transaction
from budget_middleware.databases.urls import SqliteUrl, Synchronous

NOBODY = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budget.db"


def fill(path: Path, rows: int) -> None:
    connection = connect(SqliteUrl(path), busy_s=1)
    try:
        with faults_named(path), transaction(connection):
            connection.execute("create table if not exists a (x)")
            connection.executemany("insert into a values (?)", [("x" * 1_000,)] * rows)
    finally:
        connection.close()


def fault_of_filling(path: Path, rows: int = 1) -> str:
    try:
        fill(path, rows)
    except DatabaseFault as fault:
        return f"{type(fault).__name__}: {fault}"
    return ""


def in_a_process(work: Callable[..., str], *arguments: object) -> str:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def as_nobody(path: Path) -> str:
    if os.geteuid() == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    return fault_of_filling(path)


def with_small_files(path: Path) -> str:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    return fault_of_filling(path, 1_000)


def test_commits_wait_for_what_the_url_says(path: Path):
    levels = []
    for synchronous in Synchronous:
        connection = connect(SqliteUrl(path, synchronous), busy_s=1)
        levels += connection.execute("pragma synchronous").fetchone()
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        connection.close()
    assert levels == [1, 2]


def test_nobody_else_reads_what_was_made(path: Path):
    connection = connect(SqliteUrl(path), busy_s=1)
    connection.execute("create table a (x)")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    connection.close()
    assert modes == dict.fromkeys(["budget.db", "budget.db-wal", "budget.db-shm"], 0o600)


def test_who_shares_a_file_goes_on_to_share_it(path: Path):
    path.touch()
    path.chmod(0o660)
    fill(path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_folder_that_does_not_exist(path: Path):
    missing = path / "further" / "budget.db"
    assert fault_of_filling(missing) == (
        f"DatabaseFault: {missing} cannot be opened (unable to open database file); make the folder {missing.parent}"
    )


def test_a_folder_instead_of_a_file(path: Path):
    path.mkdir()
    assert fault_of_filling(path) == (
        f"DatabaseFault: {path} cannot be opened (unable to open database file); name a file, not a folder"
    )


def test_a_file_of_something_else(path: Path):
    path.write_text("these are no tables\n" * 100)
    assert fault_of_filling(path) == (
        f"DatabaseFault: {path} is damaged, or no file of SQLite (file is not a database);"
        " stop all that use it, move it, its -wal and its -shm away, and bring back a copy"
    )


@pytest.mark.processes
def test_a_file_that_this_user_may_not_write():
    # A folder of its own: other users cannot look into that of the tests.
    with tempfile.TemporaryDirectory(prefix="budget-") as name:
        folder = Path(name)
        path = folder / "budget.db"
        fill(path, 1)
        path.chmod(0o444)
        folder.chmod(0o555)
        told = in_a_process(as_nobody, path)
        folder.chmod(0o755)
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert told.startswith("DatabaseFault: ")
    assert told.endswith(f"let this user (uid {uid}) write the file and its folder {folder}")


def test_a_full_file(path: Path):
    fill(path, 1)
    connection = connect(SqliteUrl(path), busy_s=1)
    connection.execute("pragma max_page_count = 10")
    with pytest.raises(DatabaseFault) as fault, faults_named(path), transaction(connection):
        connection.executemany("insert into a values (?)", [("x" * 1_000,)] * 1_000)
    connection.close()
    assert str(fault.value) == f"the disk of {path} is full (database or disk is full); free space on it"


@pytest.mark.processes
def test_a_disk_that_takes_no_more(path: Path):
    fill(path, 1)
    assert in_a_process(with_small_files, path) == (
        f"DatabaseAway: the disk of {path} fails (disk I/O error); look into the system's log"
    )
    # What had been committed before is there, and nothing else.
    connection = connect(SqliteUrl(path), busy_s=1)
    assert connection.execute("select count(*) from a").fetchone() == (1,)
    assert damage(connection, path) == []
    connection.close()


def test_a_file_that_another_process_holds(path: Path):
    fill(path, 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    waiting = connect(SqliteUrl(path), busy_s=0)
    with pytest.raises(DatabaseAway) as away, faults_named(path), transaction(waiting):
        pass
    assert str(away.value) == f"another process has {path} locked (database is locked); end what holds it"
    # Readers never wait.
    assert waiting.execute("select count(*) from a").fetchone() == (1,)
    other.close()
    waiting.close()


def test_who_opens_a_file_waits_for_who_writes_to_it_without_a_log(path: Path, monkeypatch: pytest.MonkeyPatch):
    """SQLite itself does not wait there. So it is with two that make a file at once."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("create table a (x)")
    other.execute("begin immediate")
    began_s = time.monotonic()
    with pytest.raises(DatabaseAway, match=r"another process has \S+ locked \(database is locked\)"):
        connect(SqliteUrl(path), busy_s=0.2)
    assert time.monotonic() - began_s >= 0.2
    # It ends while we wait.
    monkeypatch.setattr(sqlite, "sleep", lambda _: other.rollback())
    connection = connect(SqliteUrl(path), busy_s=30)
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    connection.close()
    other.close()


def test_a_damaged_file_is_found(path: Path):
    fill(path, 200)
    with path.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\xff" * 4096)
    connection = connect(SqliteUrl(path), busy_s=1)
    assert damage(connection, path)
    connection.close()
