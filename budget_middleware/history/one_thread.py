"""A thread for what blocks: one piece of work after another, also where whoever waited for one was cancelled."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


class OneThread:
    """Runs work in a thread of its own, in the order in which it comes."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="budget-history")

    async def run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Take no more work; what was begun ends by itself."""
        self._executor.shutdown(wait=False)
