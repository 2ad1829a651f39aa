"""Files that cannot be used, as the store and a gateway see them; and that they are used again, once mended."""

import asyncio
import multiprocessing
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.core.statuses import Status
from budget_middleware.stores.errors import StoreUnavailable, WrongServer
from budget_middleware.stores.sql.schema import SQLITE_STEPS
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from budget_middleware.testing import MovableClock, ScriptedApp, json_answer
from tests.stores.audit import audit
from tests.stores.sqlite_file import copy_of, lose
from tests.stores.verbs import adjust, figures, finalize, reserve


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budget.db"


def open_at(path: Path) -> SqliteStore:
    """On the clock of the tests' verbs: their windows are not over, whenever a test runs."""
    return SqliteStore(f"sqlite:///{path}", timeout_s=0.3, clock_ms=MovableClock())


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = open_at(path)
    yield store
    await store.aclose()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        yield


def overwrite(path: Path, *, at: int, by: bytes) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(at)
        file.write(by)


async def test_a_folder_is_missing_and_then_made(path: Path):
    store = open_at(path.parent / "further" / "budget.db")
    with pytest.raises(WrongServer, match=r"cannot be opened .*; make the folder .*/further$"):
        await store.check()
    with pytest.raises(WrongServer, match="cannot be opened"):
        await store.reserve(reserve("r1", "0.10"))
    (path.parent / "further").mkdir()
    assert (await store.reserve(reserve("r1", "0.10"))).status is Status.RESERVED
    await store.aclose()


async def test_a_file_that_is_locked_for_too_long_and_then_free(store: SqliteStore, path: Path):
    await store.reserve(reserve("r1", "0.10"))
    with locked(path):
        with pytest.raises(StoreUnavailable, match=r"another process has .* locked"):
            await store.finalize(finalize("r1", "0.05"))
        with pytest.raises(StoreUnavailable, match=r"locked|has not ended within"):
            await store.adjust(adjust("a1", "0.05"))
        assert [hold.id for hold in await store.holds()] == ["r1"], "readers never wait"
    assert (await store.finalize(finalize("r1", "0.05"))).status is Status.FINALIZED
    await audit(store)


async def adjust_often(store: SqliteStore) -> None:
    for at in range(1_000):
        await store.adjust(adjust(f"a{at}", "0.01"))


async def test_a_disk_that_is_full_and_then_has_room(store: SqliteStore, path: Path):
    """Full for SQLite itself: its file may not grow. Nothing of the verb is there, and what was there is sound."""
    await store.reserve(reserve("r1", "0.10"))
    writing = store._file._started().writer._ledger
    assert writing is not None
    (pages,) = writing.connection.execute("pragma page_count").fetchone()
    writing.connection.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(WrongServer, match=r"the disk of .* is full \(database or disk is full\); free space on it"):
        await adjust_often(store)
    journalled = len(await store.latest(count=10_000))
    assert (await store.finalize(finalize("r1", "0.05"))).status is Status.FINALIZED, "it was opened anew"
    assert len(await store.latest(count=10_000)) == journalled + 1
    await audit(store)
    assert await store.quick_check() == []


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(store: SqliteStore, path: Path):
    await store.adjust(adjust("a1", "0.05"))
    await store.aclose()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("update budget_schema set version = 99")
    with pytest.raises(WrongServer) as refused:
        await store.adjust(adjust("a2", "0.05"))
    assert str(refused.value) == (
        "the tables of ledger were made by a newer version of budget_middleware"
        f" (schema 99; this one knows up to {len(SQLITE_STEPS)}); upgrade budget_middleware"
    )


async def test_a_file_that_is_no_database(store: SqliteStore, path: Path):
    overwrite(path, at=0, by=b"nothing of the kind\n" * 500)
    with pytest.raises(WrongServer, match="is damaged, or no file of SQLite"):
        await store.reserve(reserve("r1", "0.10"))
    assert [each.name for each in path.parent.glob("*")] == [path.name], "nothing is left beside it"
    lose(store)
    assert (await store.reserve(reserve("r1", "0.10"))).admits


async def test_a_file_that_is_deleted_is_made_again_as_another_ledger(store: SqliteStore):
    await store.adjust(adjust("a1", "0.05"))
    before = (await store.head()).generation
    lose(store)
    head = await store.head()
    assert (head.seq, head.generation != before) == (0, True)
    assert await store.counters() == [], "readers see the new file too"


async def test_a_copy_in_the_place_of_the_file_is_used(store: SqliteStore, path: Path):
    await store.adjust(adjust("a1", "0.05"))
    copied = copy_of(store)
    await store.adjust(adjust("a2", "0.05"))
    lose(store)
    shutil.copy(copied, path)
    assert await figures(store) == ("0.05", "0.00")
    assert (await store.adjust(adjust("a2", "0.05"))).status is Status.ADJUSTED


def hold_open(path: Path, told: Connection) -> None:
    """Another worker: it has the file open, and reads nothing more."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("select count(*) from budget_ledgers").fetchone()
        told.send("open")
        told.recv()


@pytest.mark.processes
async def test_a_copy_that_is_moved_into_the_place_of_a_file_in_use_gets_none_of_its_log(
    store: SqliteStore, path: Path
):
    await store.adjust(adjust("a1", "0.05"))
    copied = copy_of(store)
    await store.adjust(adjust("a2", "0.05"))
    ours, theirs = multiprocessing.Pipe()
    other = multiprocessing.get_context("spawn").Process(target=hold_open, args=(path, theirs))
    other.start()
    assert await asyncio.to_thread(ours.recv) == "open"
    copied.replace(path)
    assert (await store.adjust(adjust("a3", "0.01"))).status is Status.ADJUSTED
    ours.send("over")
    await asyncio.to_thread(other.join)
    assert await figures(store) == ("0.06", "0.00")
    assert await store.quick_check() == []


async def test_a_copy_in_the_place_of_a_file_whose_workers_were_killed_gets_none_of_its_log(
    store: SqliteStore, path: Path, tmp_path: Path
):
    await store.adjust(adjust("a1", "0.05"))
    copied = copy_of(store)
    for at in range(20):
        await store.adjust(adjust(f"b{at}", "0.05"))
    copied.replace(path)
    # Who starts now has never had the other file open.
    started = open_at(path)
    assert await figures(started) == ("0.05", "0.00")
    assert await started.quick_check() == []
    await started.aclose()


async def test_a_folder_that_is_copied_as_a_whole_keeps_its_log(store: SqliteStore, path: Path, tmp_path: Path):
    await store.adjust(adjust("a1", "0.05"))
    shutil.copytree(path.parent, tmp_path / "copied", ignore=shutil.ignore_patterns("copied"))
    copied = open_at(tmp_path / "copied" / path.name)
    assert await figures(copied) == ("0.05", "0.00")
    await copied.aclose()


async def test_a_damaged_file_is_found(store: SqliteStore, path: Path):
    for at in range(100):
        await store.adjust(adjust(f"a{at}", "0.01"))
    assert await store.quick_check() == []
    await store.aclose()
    overwrite(path, at=8 * 4_096, by=b"\xff" * 8_192)
    damage: object
    try:
        damage = await store.quick_check()
    except WrongServer as error:
        damage = str(error)
    assert damage


REQUEST = {"model": "gpt-4o", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(("policy", "status"), [("closed", 503), ("open", 200)])
async def test_the_policy_for_a_store_that_is_away_holds_while_the_file_is_locked(path: Path, policy: str, status: int):
    app = BudgetMiddleware(
        ScriptedApp(*json_answer({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})),
        store_url=f"sqlite:///{path}",
        limits="key=1/day",
        on_store_error=policy,
        store_timeout_s=0.2,
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:

        async def ask() -> int:
            headers = {"authorization": "Bearer sk-1"}
            return (await client.post("/v1/chat/completions", json=REQUEST, headers=headers)).status_code

        assert await ask() == 200
        with locked(path):
            assert await ask() == status
        assert await ask() == 200
    await app.ledger.drain()
