"""A thread for what blocks: one piece of work after another, also where whoever waited for one was cancelled."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from budget_middleware.databases.forks import ForkGate

_T = TypeVar("_T")


class Resting(Protocol):
    def rest(self) -> None: ...


class OneThread:
    """Runs work in a thread of its own, in the order in which it comes. The process forks between two pieces of it.

    Nobody waits for that thread at the end of the process: a database that hangs must not keep it.
    """

    def __init__(self) -> None:
        self._rests: Resting | None = None
        self._gate = ForkGate(self._rest)
        self._pieces: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], _T]) -> _T:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="budget-history", daemon=True)
            self._thread.start()
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

    def rest_before_forks(self, database: Resting) -> None:
        """Have this database rest when the process forks."""
        self._rests = database

    def _pass_gate(self, work: Callable[[], _T]) -> _T:
        with self._gate:
            return work()

    def _rest(self) -> None:
        if self._rests is not None:
            self._rests.rest()

    def close(self) -> None:
        """Take no more work; what was begun ends by itself."""
        self._pieces.put(None)
