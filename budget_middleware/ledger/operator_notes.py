"""What the operators of a gateway should know and only its process sees; ``doctor`` reads it from the store."""

import logging

from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store, StoreRefused, StoreUnavailable, Topic

AT_MOST = 1_000
"""Texts come from clients: no more of them are noted by one process."""

_log = logging.getLogger("budget_middleware")


class OperatorNotes:
    """Notes each text once a process. A note that does not reach the store stands in the log all the same."""

    def __init__(self, store: Store, *, tasks: OwnedTasks, timeout: SharedTimeout) -> None:
        self._store = store
        self._tasks = tasks
        self._timeout = timeout
        self._noted: set[tuple[Topic, str]] = set()

    def note(self, topic: Topic, text: str) -> bool:
        """Whether that is news, which the caller logs; it is written to the store beside the request's path."""
        if (topic, text) in self._noted or len(self._noted) >= AT_MOST:
            return False
        self._noted.add((topic, text))
        self._tasks.own(self._write(topic, text))
        return True

    async def _write(self, topic: Topic, text: str) -> None:
        try:
            with self._timeout.timeout():
                await self._store.note(topic, text)
        except (StoreUnavailable, StoreRefused, TimeoutError) as error:
            _log.debug("a note did not reach the store: %s", error)
