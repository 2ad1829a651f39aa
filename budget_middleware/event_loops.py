"""Values per event loop: tasks, connections and timers survive neither their loop nor a fork."""

import asyncio
import os
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class PerEventLoop(Generic[_T]):
    """One value for each event loop of this process, made when it is first asked for, forgotten with its loop.

    After a fork the child has none of them: what they stand for is the parent's. Event loops may run in threads of
    their own.
    """

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._values: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _T] = weakref.WeakKeyDictionary()
        # The loop that asked last, and its value: a process has one loop as a rule, and the dictionary is several times
        # dearer. Replaced as a whole, since other threads read it meanwhile.
        self._latest: tuple[Callable[[], object], _T] = _NO_LATEST
        _living.add(self)

    def current(self) -> _T:
        """The value of the running event loop."""
        loop = asyncio.get_running_loop()
        latest_loop, latest = self._latest
        return latest if latest_loop() is loop else self._find(loop)

    def of(self, loop: asyncio.AbstractEventLoop) -> _T:
        """The value of ``loop``, which is the running one: to ask which that is takes a system call."""
        latest_loop, latest = self._latest
        return latest if latest_loop() is loop else self._find(loop)

    def values(self) -> list[_T]:
        """Those of all event loops; any thread may ask."""
        return list(self._values.values())

    def pop(self) -> _T | None:
        """The value of the running event loop, which has none from now on."""
        self._latest = _NO_LATEST
        return self._values.pop(asyncio.get_running_loop(), None)

    def reset_after_fork(self) -> None:
        """Leave all values to the parent of this process: what would be closed here would be closed there."""
        _kept_from_parent.append(self._values)
        self._values, self._latest = weakref.WeakKeyDictionary(), _NO_LATEST

    def _find(self, loop: asyncio.AbstractEventLoop) -> _T:
        if loop not in self._values:
            self._values[loop] = self._make()
        value = self._values[loop]
        self._latest = (weakref.ref(loop, self._forget_latest), value)
        return value

    def _forget_latest(self, gone: object) -> None:
        if self._latest[0] is gone:
            self._latest = _NO_LATEST


def _no_loop() -> None:
    return None


_NO_LATEST: tuple[Callable[[], None], Any] = (_no_loop, None)
_living: "weakref.WeakSet[PerEventLoop[Any]]" = weakref.WeakSet()
_kept_from_parent: list[object] = []


def _reset_after_fork() -> None:
    for each in list(_living):
        each.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
