"""A thread that does one job after the other on a ledger in a file of SQLite. See ``sqlite_driver`` for the theory."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from budget_middleware.databases.errors import DatabaseAway, DatabaseFault
from budget_middleware.databases.forks import ForkGate
from budget_middleware.databases.turns import Turns
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, WrongServer
from budget_middleware.stores.sql.batch import Verb
from budget_middleware.stores.sql.sqlite_ledger import SqliteLedger

TOGETHER_MAX: Final = 64
"""So many verbs share a commit at most: other processes wait for about ten milliseconds then."""


@dataclass(slots=True, eq=False)
class Job:
    """A verb to be decided with others, or work on the ledger that is done alone; who waits for it, and where."""

    loop: asyncio.AbstractEventLoop
    waiting: "asyncio.Future[Any]"
    verb: Verb | None = None
    work: Callable[[SqliteLedger], Any] | None = None
    has_begun: bool = False


class LedgerThread:
    """A thread, its queue, and its connection, which it opens when it first needs it.

    With ``writes_to`` it waits for its turn at that file before each transaction, once the file was found to be ours.
    """

    def __init__(self, name: str, open_ledger: Callable[[], SqliteLedger], *, writes_to: Path | None = None) -> None:
        # Its connection is closed before a fork, and opened again by the next job.
        self._gate = ForkGate(self._close)
        self.answered_s = float("-inf")
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # Taken out of the queue, and to be done next.
        self._taken: list[Job | None] = []
        self._open = open_ledger
        self._ledger: SqliteLedger | None = None
        self._writes_to = writes_to
        self._turns: Turns | None = None
        self._over = threading.Event()
        # A disk that hangs must not keep the process from its end.
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def put(self, job: Job) -> None:
        self._jobs.put(job)

    def stop(self) -> None:
        """End once everything is done that was put before."""
        self._jobs.put(None)

    def is_over_within(self, timeout_s: float) -> bool:
        return self._over.wait(timeout_s)

    def _work(self) -> None:
        try:
            while (job := self._taken.pop() if self._taken else self._jobs.get()) is not None:
                if not job.waiting.done():
                    self._do_in_turn(job)
                # The futures of a loop are not kept until the next job comes.
                del job
        finally:
            with self._gate:
                self._close()
            if self._turns is not None:
                self._turns.close()
            self._over.set()

    def _do_in_turn(self, job: Job) -> None:
        turns, jobs = self._turns, [job]
        if turns is not None:
            turns.begin()
        try:
            with self._gate:
                results = self._results(jobs)
        finally:
            if turns is not None:
                turns.end()
        self.answered_s = time.monotonic()
        _share(jobs, results)

    def _results(self, jobs: list[Job]) -> Sequence[Any]:
        """What the job comes to and, if it is a verb, those that are done together with it; they are added."""
        try:
            ledger = self._opened()
            if (work := jobs[0].work) is not None:
                jobs[0].has_begun = True
                return [work(ledger)]
            ledger.begin()
            self._gather(jobs)
            return ledger.decide([job.verb for job in jobs if job.verb is not None])
        except DatabaseFault as fault:
            if not isinstance(fault, DatabaseAway):
                self._close()
            return [store_error(fault) for _ in jobs]
        except Exception as error:  # noqa: BLE001 - Whatever it is, somebody waits for an answer.
            if len(jobs) > 1:
                return [self._result_alone(job) for job in jobs]
            return [StoreRefused(f"{type(error).__name__}: {error}")]

    def _result_alone(self, job: Job) -> Any:
        """What a verb comes to by itself: one that cannot be written, such as half a character, spoils no other."""
        try:
            ledger = self._opened()
            ledger.begin()
            assert job.verb is not None, "work is done alone anyway"
            return ledger.decide([job.verb])[0]
        except DatabaseFault as fault:
            return store_error(fault)
        except Exception as error:  # noqa: BLE001 - As above.
            return StoreRefused(f"{type(error).__name__}: {error}")

    def _gather(self, jobs: list[Job]) -> None:
        """Add the verbs that wait by now, and whose callers do."""
        while len(jobs) < TOGETHER_MAX:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None or job.verb is None:
                self._taken.append(job)
                break
            if not job.waiting.done():
                jobs.append(job)
        for job in jobs:
            job.has_begun = True

    def _opened(self) -> SqliteLedger:
        if self._ledger is not None and self._ledger.is_replaced():
            self._close()
        if self._ledger is None:
            self._ledger = self._open()
            if self._turns is None and self._writes_to is not None:
                self._turns = Turns(self._writes_to)
        return self._ledger

    def _close(self) -> None:
        """What failed is opened anew for the next job: it may have been mended, or another file be in its place."""
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            with suppress(Exception):
                ledger.close()


def store_error(fault: DatabaseFault) -> StoreRefused | StoreUnavailable:
    """What a fault of the database means to those who asked the store."""
    if isinstance(fault, DatabaseAway):
        return StoreUnavailable(str(fault))
    return WrongServer(fault.reply, fault.cause, fault.fix)


def _share(jobs: Sequence[Job], results: Sequence[Any]) -> None:
    """Have each loop hand the results to those who wait on it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, result in zip(jobs, results, strict=True):
        by_loop.setdefault(job.loop, []).append((job.waiting, result))
    for loop, answered in by_loop.items():
        # A loop that is closed waits for nothing.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_hand_over, answered)


def _hand_over(answered: Sequence[tuple["asyncio.Future[Any]", Any]]) -> None:
    for waiting, result in answered:
        if waiting.done():
            continue
        if isinstance(result, Exception):
            waiting.set_exception(result)
        else:
            waiting.set_result(result)
