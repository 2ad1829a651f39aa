"""Notes for operators on what only a gateway's process sees; ``doctor`` reads them from the store."""

import logging

from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import NO_ANSWER
from budget_middleware.stores.notes import Topic

AT_MOST = 1_000
"""Texts come from clients: one process notes no more of them."""

_log = logging.getLogger("budget_middleware")


class OperatorNotes:
    """Adds each note once a process. A note that does not reach the store stands in the log all the same."""

    def __init__(self, store: Store, *, tasks: OwnedTasks, timeout: SharedTimeout) -> None:
        self._store = store
        self._tasks = tasks
        self._timeout = timeout
        self._added: set[tuple[Topic, str]] = set()

    def add(self, topic: Topic, text: str) -> bool:
        """Add a note, off the request's path. True: it is new, and the caller logs it."""
        if (topic, text) in self._added or len(self._added) >= AT_MOST:
            return False
        self._added.add((topic, text))
        self._tasks.spawn(self._write(topic, text))
        return True

    async def _write(self, topic: Topic, text: str) -> None:
        try:
            with self._timeout.timeout():
                await self._store.add_note(topic, text)
        except NO_ANSWER as error:
            _log.debug("a note did not reach the store: %s", error)
