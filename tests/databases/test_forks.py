"""Forks and work on databases that knows of them."""

import threading

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
