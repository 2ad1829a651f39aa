"""Forks and work on databases that knows of them."""

import threading

import pytest

from budget_middleware.databases import forks
from budget_middleware.databases.forks import ForkGate


def test_work_that_begins_while_a_process_forks_waits_for_the_fork():
    """That of a thread of which nobody knew before: the child would take what it opens for its own."""
    order: list[str] = []

    def work() -> None:
        with ForkGate(lambda: None):
            order.append("work")

    thread = threading.Thread(target=work)
    forks._before_fork()
    try:
        thread.start()
        # It does not end, as far as anybody would wait.
        thread.join(0.2)
        order.append("fork")
    finally:
        forks._after_fork()
    thread.join()
    assert order == ["fork", "work"]


def test_a_fork_that_could_not_wait_lets_nobody_else_begin(monkeypatch: pytest.MonkeyPatch):
    """What is at work still is: its lock is its own to give back."""
    monkeypatch.setattr(forks, "PATIENCE_S", 0.0)
    closed: list[str] = []
    busy, resting = ForkGate(lambda: closed.append("busy")), ForkGate(lambda: closed.append("resting"))
    with resting:
        """From now on forks know of it."""
    with busy:
        forks._before_fork()
        forks._after_fork()
        assert busy.work.locked()
        assert not resting.work.locked()
    assert closed == ["resting"]
    with busy, resting:
        """Both are as before."""
