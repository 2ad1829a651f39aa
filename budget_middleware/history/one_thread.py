"""A thread for what blocks: one piece of work after another, also where whoever waited for one was cancelled.

The database that the work is about is the thread's own: it opens it, and at its end it closes it. So none stays open
that was opened for somebody who has left meanwhile, or that could not be closed in time.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from budget_middleware.databases.forks import ForkGate

_T = TypeVar("_T")


class Closable(Protocol):
    def rest(self) -> None: ...
    def close(self) -> None: ...


_Database = TypeVar("_Database", bound=Closable)


class OneThread:
    """Runs work in a thread of its own, in the order in which it comes. The process forks between two pieces of it.

    Nobody waits for that thread at the end of the process: a database that hangs must not keep it.
    """

    def __init__(self) -> None:
        self._database: Any = None
        self._gate = ForkGate(self._rest)
        self._pieces: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._is_started = False
        self._over: Future[None] = Future()
        # Who waits for it and is cancelled, or is no longer there, cancels nothing.
        self._over.set_running_or_notify_cancel()

    async def open(self, connect: Callable[[], _Database]) -> _Database:
        """The one database of this thread; who asks again, after being cancelled, gets the same."""

        def connected() -> _Database:
            if self._database is None:
                self._database = connect()
            database: _Database = self._database
            return database

        return await self.run(connected)

    async def run(self, work: Callable[[], _T]) -> _T:
        if not self._is_started:
            self._is_started = True
            threading.Thread(target=self._work, name="budget-history", daemon=True).start()
        done: Future[_T] = Future()
        self._pieces.put((done, work))
        return await asyncio.wrap_future(done)

    def _work(self) -> None:
        while (piece := self._pieces.get()) is not None:
            done, work = piece
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(self._pass_gate(work))
                except BaseException as error:  # noqa: BLE001 - It is that of whoever waits.
                    done.set_exception(error)
            # Nothing is kept until the next piece comes.
            del piece, done, work
        with suppress(Exception):
            self._pass_gate(self._close_database)
        self._over.set_result(None)

    def _pass_gate(self, work: Callable[[], _T]) -> _T:
        with self._gate:
            return work()

    def _rest(self) -> None:
        if self._database is not None:
            self._database.rest()

    def _close_database(self) -> None:
        if self._database is not None:
            self._database.close()

    def close(self) -> None:
        """Do what was begun, close the database, and end the thread. Nothing is asked of it after that."""
        self._pieces.put(None)

    async def is_over(self) -> None:
        """Wait until the thread that was closed has ended."""
        if self._is_started:
            await asyncio.wrap_future(self._over)
