"""Two threads of a process for one file of SQLite: one writes, one reads; event loops wait for futures.

Theory of operation. A disk may let a process wait, and no event loop waits with it. Verbs are put into a queue. The
writer waits for its turn among the processes (``databases.turns``), begins the transaction, and only then takes what
has gathered meanwhile, up to TOGETHER_MAX verbs: all of them are one commit. The longer a commit takes, the more share
the next one. Those whose callers have left by then are not done at all.

    event loop                        writer
    run(verb) ──> queue ──────────┐   turn, BEGIN IMMEDIATE
    run(verb) ──> queue ────────┐ └─> take all ──> decide ──> write ──> COMMIT, end of turn
    await future <──────────────┴──── call_soon_threadsafe, once a loop

Scripts that write run alone, between batches. Scripts that read run in the other thread, over a snapshot, and wait for
nobody. Both threads start with the first call, and again in the child of a fork, which has neither the threads of its
parent nor its connections (``databases.forks``).
"""

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

from budget_middleware.core.answers import Answer
from budget_middleware.databases.urls import SqliteUrl
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.batch import Verb
from budget_middleware.stores.sql.scripts import ScriptOf, T
from budget_middleware.stores.sql.sqlite_ledger import SqliteLedger
from budget_middleware.stores.sql.sqlite_threads import Job, LedgerThread

_ENDS_WITHIN_S = 2.0

_PART_FOR_LOCKS = 0.8
"""Of the time-out: what a transaction waits for is told before the caller has given up."""


class _Threads(NamedTuple):
    writer: LedgerThread
    reader: LedgerThread


class SqliteDriver:
    """The ledger ``namespace`` in a file. ``timeout_s`` is how long a transaction waits for other processes."""

    def __init__(
        self,
        url: SqliteUrl,
        *,
        namespace: str,
        timeout_s: float,
        retention: Retention,
        clock_ms: Callable[[], int],
    ) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._open = partial(
            SqliteLedger,
            url,
            namespace=namespace,
            busy_s=_PART_FOR_LOCKS * timeout_s,
            retention=retention,
            clock_ms=clock_ms,
        )
        self._threads: _Threads | None = None
        self._putting = threading.Lock()
        _drivers.add(self)

    def run(self, verb: Verb) -> Awaitable[Answer]:
        """Decide a verb, together with others. StoreUnavailable or StoreRefused."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Answer] = loop.create_future()
        self._put(Job(loop, waiting, verb))
        return waiting

    async def run_alone(self, verb: Verb) -> Answer:
        """The same for callers that have no time-out of their own."""
        loop = asyncio.get_running_loop()
        job = Job(loop, loop.create_future(), verb)
        self._put(job)
        answer: Answer = await self._begun_in_time(job)
        return answer

    async def write(self, script_of: ScriptOf[T]) -> T:
        """Run a script while nobody else writes. StoreUnavailable or StoreRefused."""
        return await self._work(lambda ledger: ledger.write(script_of))

    async def read(self, script_of: ScriptOf[T]) -> T:
        """Run a script over one snapshot. StoreUnavailable or StoreRefused."""
        return await self._work(lambda ledger: ledger.read(script_of), is_reading=True)

    async def look(self, work: Callable[[SqliteLedger], T]) -> T:
        """Ask the connection of the reader something."""
        return await self._work(work, is_reading=True)

    async def _work(self, work: Callable[[SqliteLedger], T], *, is_reading: bool = False) -> T:
        loop = asyncio.get_running_loop()
        job = Job(loop, loop.create_future(), work=work)
        self._put(job, is_reading=is_reading)
        done: T = await self._begun_in_time(job)
        return done

    async def _begun_in_time(self, job: Job) -> Any:
        """What a job comes to; it may take its time, but not begin with it later than after the time-out."""
        timer = job.loop.call_later(self._timeout_s, self._give_up_unless_begun, job)
        try:
            return await job.waiting
        finally:
            timer.cancel()

    def _give_up_unless_begun(self, job: Job) -> None:
        if not job.has_begun and not job.waiting.done():
            job.waiting.set_exception(
                StoreUnavailable(f"other work on {self.url.path} has not ended within {self._timeout_s:g} s")
            )

    def is_silent(self) -> bool:
        """Whether no transaction has ended for a whole time-out."""
        threads = self._threads
        return threads is None or time.monotonic() - threads.writer.answered_s >= self._timeout_s

    def _put(self, job: Job, *, is_reading: bool = False) -> None:
        """Whichever event loop it comes from: threads start once, and none that was stopped gets a job."""
        with self._putting:
            threads = self._started()
            (threads.reader if is_reading else threads.writer).put(job)

    def _started(self) -> _Threads:
        threads = self._threads
        if threads is None:
            name = self.url.path.name
            threads = self._threads = _Threads(
                LedgerThread(f"writes {name}", self._open, writes_to=self.url.path),
                LedgerThread(f"reads {name}", partial(self._open, for_reading=True)),
            )
        return threads

    async def aclose(self) -> None:
        """Close the connections once what was asked is done; the next call opens them again."""
        with self._putting:
            threads, self._threads = self._threads, None
            for thread in threads or ():
                thread.stop()
        if threads is not None:
            await asyncio.gather(*[asyncio.to_thread(thread.is_over_within, _ENDS_WITHIN_S) for thread in threads])

    def leave_to_parent(self) -> None:
        """In the child of a fork: what is not closed yet the parent closes."""
        _kept_from_parent.append(self._threads)
        self._threads = None
        # Another thread of the parent may have held it.
        self._putting = threading.Lock()


_drivers: "weakref.WeakSet[SqliteDriver]" = weakref.WeakSet()
_kept_from_parent: list[object] = []


def _leave_all_to_parent() -> None:
    for driver in list(_drivers):
        driver.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)
