"""Processes, forks, event loops and threads over one file."""

import asyncio
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.core.windows import Period
from budget_middleware.databases import forks
from budget_middleware.stores.sql import sqlite_driver
from budget_middleware.stores.sql.scripts import At, Script
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from budget_middleware.stores.sql.sqlite_threads import Job, LedgerThread
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit
from tests.stores.verbs import START_MS, adjust, figures, finalize, release, reserve, target

TOTAL = target(limit="1.00", period=Period.TOTAL)
SPAWN = multiprocessing.get_context("spawn")
N_WORKERS = 3


def open_at(url: str) -> SqliteStore:
    return SqliteStore(url, timeout_s=30, clock_ms=MovableClock(START_MS))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/budget.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqliteStore]:
    store = open_at(url)
    yield store
    await store.aclose()


async def hammer(url: str, name: str, told: Connection) -> None:
    """Holds cents as long as there are any; half of what it gets it books, and says so once it was answered."""
    store = open_at(url)
    told.send("ready")
    for at in range(10_000):
        answer = await store.reserve(reserve(f"{name}.{at}", "0.01", TOTAL))
        if answer.status is Status.REJECTED:
            break
        told.send(answer.status)
        if at % 2:
            told.send((await store.finalize(finalize(f"{name}.{at}", "0.01", TOTAL))).status)
        else:
            await store.release(release(f"{name}.{at}"))
    told.send("over")
    await store.aclose()


def hammer_in_process(url: str, name: str, told: Connection) -> None:
    asyncio.run(hammer(url, name, told))


def told_of(worker: Connection, *, at_most: int = 1_000_000) -> int:
    """How many endings a worker says it got, until it is over or gone."""
    finalized = 0
    for _ in range(at_most):
        try:
            message = worker.recv()
        except EOFError:
            break
        if message == "over":
            break
        finalized += message == Status.FINALIZED
    return finalized


@pytest.mark.processes
@pytest.mark.proves("I6", "I9")
async def test_one_is_killed_and_the_limit_holds(url: str, store: SqliteStore):
    pipes = [SPAWN.Pipe(duplex=False) for _ in range(N_WORKERS)]
    workers = [
        SPAWN.Process(target=hammer_in_process, args=(url, str(number), told)) for number, (_, told) in enumerate(pipes)
    ]
    for worker in workers:
        worker.start()
    for ours, told in pipes:
        # Or nobody would see that the other end is gone.
        told.close()
        assert ours.recv() == "ready"
    victim, his = workers[0], pipes[0][0]
    finalized = told_of(his, at_most=12)
    victim.kill()
    victim.join()
    finalized += told_of(his) + sum(told_of(ours) for ours, _ in pipes[1:])
    for worker in workers[1:]:
        worker.join()
    # What was answered is there; the last verb of the victim may have been applied without an answer.
    (view,) = await store.counters()
    spent, held = view.balance.spent // 10_000_000, view.balance.reserved // 10_000_000
    assert finalized <= spent <= finalized + 1
    assert spent + held <= 100
    assert held <= 1
    for entry in await store.latest(count=100_000):
        assert entry.limit is not None
        assert entry.spent + entry.reserved <= entry.limit
    await audit(store)
    assert await store.quick_check() == []


def use_in_child(store: SqliteStore) -> int:
    """The exit status of a child that uses the store of its parent."""

    async def use() -> None:
        assert (await store.adjust(adjust("child", "0.01", TOTAL))).status is Status.ADJUSTED

    child = fork_into(lambda: asyncio.run(use()))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
async def test_a_forked_child_opens_the_file_anew(store: SqliteStore):
    await store.adjust(adjust("before", "0.01", TOTAL))
    # In a thread: a child must not find the loop of its parent running.
    assert await asyncio.to_thread(use_in_child, store) == 0
    await store.adjust(adjust("after", "0.01", TOTAL))
    assert await figures(store, TOTAL) == ("0.03", "0.00")
    assert await store.quick_check() == []


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
async def test_a_fork_waits_for_what_is_under_way(store: SqliteStore):
    """And finds no lock of SQLite taken, whatever the threads do meanwhile."""
    stop = asyncio.Event()

    async def write_on() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await store.adjust(adjust(f"on{number}", "0", TOTAL))
            await store.counters()

    writing = [asyncio.create_task(write_on()) for _ in range(4)]
    statuses = [await asyncio.to_thread(use_in_child, store)]
    stop.set()
    await asyncio.gather(*writing)
    assert statuses == [0]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
async def test_a_fork_that_cannot_wait_breaks_nothing(store: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    """A thread that a disk keeps goes on when the disk does."""
    monkeypatch.setattr(forks, "PATIENCE_S", 0.01)
    await store.check()
    is_at_work, may_go_on = threading.Event(), threading.Event()

    def hang(_: At) -> Script[bool]:
        is_at_work.set()
        return may_go_on.wait()
        yield

    hanging = asyncio.create_task(store._file.write(hang))
    await asyncio.to_thread(is_at_work.wait)
    child = await asyncio.to_thread(fork_into, lambda: None)
    assert await exit_status(child) == 0
    may_go_on.set()
    assert await hanging
    assert (await store.adjust(adjust("after", "0.01", TOTAL))).status is Status.ADJUSTED


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
async def test_what_a_child_wrote_stays_where_its_parent_closes_the_file_first(url: str, store: SqliteStore):
    await store.adjust(adjust("parent", "0.01", TOTAL))
    await store.counters()
    (child_reads, go_on), (tells, child_tells) = os.pipe(), os.pipe()

    def write_twice() -> None:
        async def use() -> None:
            await store.adjust(adjust("early", "0.01", TOTAL))
            os.write(child_tells, b"!")
            os.read(child_reads, 1)
            await store.adjust(adjust("late", "0.01", TOTAL))

        asyncio.run(use())

    child = await asyncio.to_thread(fork_into, write_twice)
    await asyncio.to_thread(os.read, tells, 1)
    await store.aclose()
    os.write(go_on, b"!")
    assert await exit_status(child) == 0
    assert await figures(open_at(url), TOTAL) == ("0.03", "0.00")


def fork_into(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - It is told, and the status says that it was one.
            traceback.print_exc()
        finally:
            os._exit(2)
    return child


async def exit_status(child: int) -> int:
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    return os.waitstatus_to_exitcode(status)


async def test_event_loops_in_threads_share_a_store(store: SqliteStore):
    """One of them closes its own while the others go on."""
    n_threads, each = 4, 25
    failures: list[BaseException] = []

    async def work(number: int) -> None:
        for at in range(each):
            assert (await store.adjust(adjust(f"{number}.{at}", "0.001", TOTAL))).status is Status.ADJUSTED
        await store.aclose()

    def run(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:  # noqa: BLE001 - It is told below.
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert not failures
    assert await figures(store, TOTAL) == ("0.10", "0.00")


def in_another_thread(work: Callable[[], object]) -> None:
    """As when a thread is switched right here; who has to wait for this very thread goes on later."""
    other = threading.Thread(target=work)
    other.start()
    other.join(0.2)


async def test_event_loops_that_begin_together_start_two_threads_and_no_more(store: SqliteStore, monkeypatch):
    """Those of the other would never be stopped, and never close the file."""
    started: list[LedgerThread] = []

    class Watched(LedgerThread):
        def __init__(self, *args: Any, **more: Any) -> None:
            is_first = not started
            started.append(self)
            if is_first:
                in_another_thread(lambda: asyncio.run(store.check()))
            super().__init__(*args, **more)

    monkeypatch.setattr(sqlite_driver, "LedgerThread", Watched)
    await store.check()
    assert len(started) == 2


async def test_what_is_asked_while_another_event_loop_closes_is_done(store: SqliteStore, monkeypatch):
    put = LedgerThread.put

    def put_late(thread: LedgerThread, job: Job) -> None:
        monkeypatch.undo()
        in_another_thread(lambda: asyncio.run(store.aclose()))
        put(thread, job)

    await store.check()
    monkeypatch.setattr(LedgerThread, "put", put_late)
    async with asyncio.timeout(10):
        assert (await store.adjust(adjust("late", "0.01", TOTAL))).status is Status.ADJUSTED
    assert await figures(store, TOTAL) == ("0.01", "0.00")


async def test_what_others_give_back_is_heard(url: str, store: SqliteStore):
    heard: list[str] = []
    is_ready, is_heard = asyncio.Event(), asyncio.Event()

    def hear(accounts: Sequence[str]) -> None:
        heard.extend(accounts)
        is_heard.set()

    listening = asyncio.create_task(store.listen(hear, on_ready=is_ready.set))
    await is_ready.wait()
    other = open_at(url)
    team = target("team:b", period=Period.TOTAL)
    await other.reserve(reserve("r1", "0.10", TOTAL, team))
    await other.release(release("r1"))
    async with asyncio.timeout(30):
        await is_heard.wait()
    assert sorted(heard) == ["key:a", "team:b"]
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await other.aclose()


@pytest.mark.processes
async def test_a_stopped_process_keeps_others_out_no_longer_than_it_is_stopped(url: str, store: SqliteStore):
    """With the file's lock in its hand; who waits is told, and not for ever."""
    await store.check()
    ours, told = SPAWN.Pipe(duplex=False)
    holder = SPAWN.Process(target=hold_lock, args=(store._file.url.path, told))
    holder.start()
    ours.recv()
    impatient = SqliteStore(url, timeout_s=0.2)
    with pytest.raises(Exception, match=r"locked|has not ended within"):
        await impatient.adjust(adjust("a", "0.01", TOTAL))
    assert await impatient.counters() == [], "readers never wait"
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert (await store.adjust(adjust("a", "0.01", TOTAL))).status in (Status.ADJUSTED, Status.DUPLICATE)
    await impatient.aclose()


def hold_lock(path: Path, told: Connection) -> None:
    import sqlite3

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("begin immediate")
    told.send("held")
    signal.pause()
