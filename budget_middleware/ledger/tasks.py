"""Tasks that belong to the ledger: no request's cancellation reaches them, and a shutdown waits for them."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from budget_middleware.event_loops import PerEventLoop

_T = TypeVar("_T")

_log = logging.getLogger("budget_middleware")


class _Tasks(dict[asyncio.Task[Any], Callable[[], object] | None]):
    """Those of one event loop, and what is called at the end of each."""

    def on_done(self, task: asyncio.Task[Any]) -> None:
        at_end = self.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the ledger failed", exc_info=error)
        if at_end is not None:
            at_end()


class OwnedTasks:
    """The tasks of this process, by event loop (a task lives and dies with its loop)."""

    def __init__(self) -> None:
        self._tasks = PerEventLoop(_Tasks)

    def spawn(self, work: Coroutine[Any, Any, _T], *, at_end: Callable[[], object] | None = None) -> asyncio.Task[_T]:
        """Begin a task; ``at_end`` is called at its end, also if it is cancelled before its first step."""
        tasks, context = self._tasks.current(), copy_context()
        task = asyncio.get_running_loop().create_task(work, context=context)
        tasks[task] = at_end
        # Its own context serves both: else asyncio copies one more.
        task.add_done_callback(tasks.on_done, context=context)
        return task

    async def drain(self, *, timeout_s: float, last_s: float | None = None) -> int:
        """Wait for this loop's tasks and for what they begin; cancel the rest, and return how many these were.

        Who is cancelled may try once more. ``last_s`` is how long all of them may, before they are cancelled again.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while (tasks := self._tasks.current().keys() - {asyncio.current_task()}) and loop.time() < until:
            await asyncio.wait(tasks, timeout=until - loop.time())
        # A task that is cancelled before its first step would never know.
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        if tasks and (late := (await asyncio.wait(tasks, timeout=last_s))[1]):
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=last_s)
        return len(tasks)


async def run_in_thread(work: Callable[[], object], *, timeout_s: float) -> None:
    """Run what may block in a thread that neither the loop nor the interpreter waits for at their end."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        work()
        with suppress(RuntimeError):  # The loop did not wait so long.
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="budget-middleware", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await done.wait()
