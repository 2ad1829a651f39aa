"""A thread for what blocks: one piece of work after another, also where whoever waited for one was cancelled."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from budget_middleware.databases.forks import ForkGate

_T = TypeVar("_T")
_Pieces = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]


class Resting(Protocol):
    def rest(self) -> None: ...


class OneThread:
    """Runs work in a thread of its own, in the order in which it comes. The process forks between two pieces of it.

    Nobody waits for that thread at the end of the process: a database that hangs must not keep it.
    """

    def __init__(self) -> None:
        self._rests: Resting | None = None
        self._gate = ForkGate(self._rest)
        # Of the thread that works now; None before the first piece, and again after `close`.
        self._pieces: _Pieces | None = None

    async def run(self, work: Callable[[], _T]) -> _T:
        if self._pieces is None:
            self._pieces = SimpleQueue()
            threading.Thread(target=self._work, args=(self._pieces,), name="budget-history", daemon=True).start()
        done: Future[_T] = Future()
        self._pieces.put((done, work))
        return await asyncio.wrap_future(done)

    def _work(self, pieces: _Pieces) -> None:
        while (piece := pieces.get()) is not None:
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
        """End the thread, once it has done what was begun. More work has a new one."""
        if self._pieces is not None:
            self._pieces.put(None)
            self._pieces = None
