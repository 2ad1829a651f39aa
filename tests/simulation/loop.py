"""One thread and no real time: an event loop whose clock jumps to its next timer, and processes that live in it.

A process is all that it began, and what that began. A kill stops it between two steps for ever, without any
`finally`; a pause stops it until it is resumed: its timers and incoming replies wait as they do under SIGSTOP.
"""

import asyncio
import contextlib
import contextvars
import functools
import os
import secrets
import selectors
import sys
import threading
import time
import types
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

REQUEST: contextvars.ContextVar[int] = contextvars.ContextVar("request", default=0)
"""The number of the request (or of the operator's errand) that runs; the ids that it makes begin with it."""

_REAL_MONOTONIC, _REAL_TIME, _REAL_TIME_NS = time.monotonic, time.time, time.time_ns
_MIDWAY_S = 1_000.0
_MS = 0.001


class Stuck(Exception):
    """Nothing is left that could ever go on."""


@dataclass(eq=False, slots=True)
class Process:
    """`is_cut`: its network swallows what it sends, and nothing reaches it."""

    name: str
    skew_ms: int = 0
    is_stopped: bool = False
    is_cut: bool = False
    is_killed: bool = False
    _waiting: list["_Guarded"] = field(default_factory=list)

    def begin(self, work: Coroutine[Any, Any, Any], *, number: int = 0) -> asyncio.Task[Any]:
        """A task of this process, for a numbered request."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        context.run(REQUEST.set, number)
        return asyncio.get_running_loop().create_task(work, context=context)

    def kill(self) -> None:
        self.is_stopped = self.is_cut = True

    def pause(self) -> None:
        self.is_stopped = True

    def resume(self) -> None:
        self.is_stopped = False
        waiting, self._waiting = self._waiting, []
        for guarded in waiting:
            asyncio.get_running_loop().call_soon(guarded, context=guarded.context)

    def hold_back(self, guarded: "_Guarded") -> None:
        self._waiting.append(guarded)


OUTSIDE = Process("outside")
"""The network, the store, and what makes things happen: it never stops."""

PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process", default=OUTSIDE)


_outside = contextvars.Context()
_outside.run(PROCESS.set, OUTSIDE)


def outside() -> contextvars.Context:
    """The context of what comes to pass whoever is paused or dead by then."""
    return _outside.copy()


class _Guarded:
    """A callback that runs only while its process does, and not if it was cancelled while it waited."""

    __slots__ = ("args", "callback", "context", "handle", "loop")

    def __init__(
        self,
        loop: "VirtualLoop",
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context,
    ) -> None:
        self.loop = loop
        self.callback = callback
        self.args = args
        self.context = context
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        process = PROCESS.get()
        if process.is_stopped:
            process.hold_back(self)
        elif self.handle is None or not self.handle.cancelled():
            self.loop.running = process
            try:
                self.callback(*self.args)
            finally:
                self.loop.running = OUTSIDE


class _JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = _MIDWAY_S

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Deterministic: callbacks run in the order of their times, then of their making."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-6
        # The loop itself knows tasks weakly: one of a killed process must not be collected, for that would throw
        # GeneratorExit into it and so run what the kill did not.
        self.tasks: list[asyncio.Task[Any]] = []
        self.running = OUTSIDE

    def time(self) -> float:
        return self._jumping.now_s

    def elapsed_ms(self) -> int:
        return round((self.time() - _MIDWAY_S) * 1000)

    def create_task(self, coro: Any, *, context: contextvars.Context | None = None, **options: Any) -> Any:
        task = super().create_task(coro, context=self._owned(context), **options)
        self.tasks.append(task)
        return task

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        if isinstance(callback, _Guarded):
            return super().call_soon(callback, context=context)
        guarded = _Guarded(self, callback, args, self._owned(context))
        guarded.handle = super().call_soon(guarded, context=guarded.context)
        return guarded.handle

    def call_at(self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        guarded = _Guarded(self, callback, args, self._owned(context))
        guarded.handle = timer = super().call_at(when, guarded, context=guarded.context)
        return timer

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        return self.call_soon(callback, *args, context=context)

    def _owned(self, context: contextvars.Context | None) -> contextvars.Context:
        """A context of nobody, such as a fresh one, belongs to the process that gives it."""
        context = contextvars.copy_context() if context is None else context
        if PROCESS not in context:
            context.run(PROCESS.set, self.running)
        return context

    def bury(self, processes: list[Process]) -> None:
        """Let every task that is left come to its end behind a cut network, so that nothing warns of it."""
        for process in processes:
            process.is_cut = True
        while left := [task for task in self.tasks if not task.done()]:
            for process in processes:
                self.call_soon(process.resume)
            for task in left:
                self.call_soon(task.cancel)
            self.run_until_complete(self._pass_a_moment())
        self.close()

    @staticmethod
    async def _pass_a_moment() -> None:
        await asyncio.sleep(_MS)


@contextlib.contextmanager
def virtual_time(loop: VirtualLoop, *, start_ms: int) -> Iterator[None]:
    """What the product asks `time`, and for random bytes, is answered by the loop, for each process by its own clock.

    There are no threads either: what one would do is done at once. And no power cuts: a disk needs no sync.
    """
    made = 0

    def now_ns() -> int:
        return (start_ms + loop.elapsed_ms() + loop.running.skew_ms) * 1_000_000

    def next_id(n_bytes: int) -> str:
        nonlocal made
        made += 1
        return f"{REQUEST.get():08x}{made:0{max(2 * n_bytes - 8, 8)}x}"

    def next_bytes(n_bytes: int) -> bytes:
        return bytes.fromhex(next_id(n_bytes))

    with (
        mock.patch.object(time, "time_ns", now_ns),
        mock.patch.object(time, "time", lambda: now_ns() / 1e9),
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(secrets, "token_hex", next_id),
        mock.patch.object(os, "urandom", next_bytes),
        mock.patch.object(os, "fsync", lambda _: None),
        mock.patch.object(threading.Thread, "start", threading.Thread.run),
        contextlib.ExitStack() as restored,
    ):
        for namespace, name, virtual in _taken_clocks(loop.time, now_ns):
            restored.callback(namespace.__setitem__, name, namespace[name])
            namespace[name] = virtual
        yield


def _taken_clocks(
    monotonic: Callable[[], float], now_ns: Callable[[], int]
) -> list[tuple[dict[str, Any], str, Callable[[], float]]]:
    """Where the product took a clock of `time` as it was imported: by name, or as what a parameter defaults to."""
    virtual = {_REAL_MONOTONIC: monotonic, _REAL_TIME: lambda: now_ns() / 1e9, _REAL_TIME_NS: now_ns}
    return [(namespace, name, virtual[clock]) for namespace, name, clock in _found_clocks(len(sys.modules))]


@functools.cache
def _found_clocks(_n_modules: int) -> list[tuple[dict[str, Any], str, Callable[[], float]]]:
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("budget_middleware")]
    things = [thing for module in modules for thing in vars(module).values()]
    members = [member for thing in things if isinstance(thing, type) for member in vars(thing).values()]
    functions = {id(each): each for each in (*things, *members) if isinstance(each, types.FunctionType)}
    spaces = [vars(module) for module in modules]
    spaces += [each.__kwdefaults__ for each in functions.values() if each.__kwdefaults__]
    clocks = {id(clock): clock for clock in (_REAL_MONOTONIC, _REAL_TIME, _REAL_TIME_NS)}
    return [(space, name, value) for space in spaces for name, value in space.items() if id(value) in clocks]
