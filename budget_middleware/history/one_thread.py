"""A thread for what blocks: one piece of work after another, also where whoever waited for one was cancelled."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from budget_middleware.databases.forks import ForkGate

_T = TypeVar("_T")


class Resting(Protocol):
    def rest(self) -> None: ...


class OneThread:
    """Runs work in a thread of its own, in the order in which it comes. The process forks between two pieces of it."""

    def __init__(self) -> None:
        self._rests: Resting | None = None
        self._gate = ForkGate(self._rest)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="budget-history")

    async def run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._pass_gate, work)

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
        self._executor.shutdown(wait=False)
