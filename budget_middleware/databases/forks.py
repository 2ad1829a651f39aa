"""Lets a process fork only while none of its threads is at work in a database.

Theory of operation. A child has one thread and a copy of everything else: of the locks that SQLite held, which nobody
in it gives back, and of what SQLite knows of its open files, which the kernel does not grant to the child. SQLite would
take a file that is open in the parent for open in the child, without a lock of its own; the parent, when it closes the
file as the last that holds one, would then remove the log into which the child still writes. So before a fork each
thread ends what it is at and begins nothing more, and what it has open is closed until it is needed again.

A thread passes two locks, so that one that is always at work keeps no fork waiting for longer than one piece of it:

    thread   entrance ──> work ──> leave the entrance ──> work on the database ──> leave the work
    fork     entrance ──> work ──> close what is open ──> fork ──> leave both

Of a gate a fork knows from its first piece of work on, which does not begin while a process forks.

A thread that does not come to an end, as on a disk that hangs, keeps a fork for PATIENCE_S and no longer.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 2.0


class ForkGate:
    """What a thread passes for each piece of work on a database. ``close`` closes what it has open between two."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close
        self.entrance = threading.Lock()
        self.work = threading.Lock()
        self._is_known = False

    def __enter__(self) -> None:
        if not self._is_known:
            with _forking:
                _gates.add(self)
            self._is_known = True
        with self.entrance:
            self.work.acquire()

    def __exit__(self, *_: object) -> None:
        self.work.release()


_gates: "weakref.WeakSet[ForkGate]" = weakref.WeakSet()
_forking = threading.Lock()
"""Held by the thread that forks, from before until after."""
_taken: list[threading.Lock] = []
"""By that thread, of the gates."""


def _before_fork() -> None:
    _forking.acquire()
    until = time.monotonic() + PATIENCE_S
    for gate in list(_gates):
        if _take(gate.entrance, until) and _take(gate.work, until):
            gate.close()


def _take(lock: threading.Lock, until: float) -> bool:
    is_taken = lock.acquire(timeout=max(0.0, until - time.monotonic()))
    if is_taken:
        _taken.append(lock)
    return is_taken


def _after_fork() -> None:
    while _taken:
        _taken.pop().release()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
