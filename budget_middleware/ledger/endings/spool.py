"""Holds the endings that the store has not answered: a bounded number, in memory and on disk."""

import logging
import threading
from collections.abc import Callable, Mapping

from budget_middleware.ledger.endings.spool_file import SpoolFile
from budget_middleware.ledger.endings.spool_lines import SpooledEnding
from budget_middleware.telemetry.traceparent import log_ids

_log = logging.getLogger("budget_middleware")


class Spool:
    """At most so many endings wait; what does not fit is lost, and said so."""

    def __init__(self, *, at_most: int, file: SpoolFile | None = None) -> None:
        self._at_most = at_most
        self._file = file
        self._waiting: set[str] = set()
        self.lost = 0
        # The event loops of several threads may share a ledger.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, spooled: SpooledEnding) -> bool:
        """Let an ending wait, and be on disk if there is a file; False: there is no room for it."""
        with self._lock:
            if spooled.key in self._waiting:
                return True
            if len(self._waiting) >= self._at_most:
                self.lost += 1
                _log.error(
                    "BUDGET_SPOOL_MAX=%d endings wait for the store already; this one is lost: %s",
                    self._at_most,
                    spooled,
                    extra=_ids(spooled),
                )
                return False
            self._waiting.add(spooled.key)
            if self._file is not None:
                _write(self._file.add, spooled)
        _log.warning("the store gave no answer; it will be sent again: %s", spooled.key, extra=_ids(spooled))
        return True

    def remove(self, spooled: SpooledEnding) -> None:
        """The store has answered."""
        with self._lock:
            if spooled.key in self._waiting:
                self._waiting.discard(spooled.key)
                if self._file is not None:
                    _write(self._file.remove, spooled)

    def set_aside(self, spooled: SpooledEnding) -> None:
        """The store cannot tell whether it was booked: an operator decides. Without a disk it waits to the end."""
        with self._lock:
            if spooled.key in self._waiting and self._file is not None and _write(self._file.set_aside, spooled):
                self._waiting.discard(spooled.key)

    def adopt(self) -> list[SpooledEnding]:
        """Endings of processes that are gone; they wait here from now on."""
        if self._file is None:
            return []
        with self._lock:
            adopted = self._file.adopt()
            self._waiting.update(spooled.key for spooled in adopted)
        return adopted

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _write(write: Callable[[SpooledEnding], None], spooled: SpooledEnding) -> bool:
    """Whether it could be written. In memory an ending waits all the same, and a full disk must not stop that."""
    try:
        write(spooled)
    except OSError as error:
        _log.error(
            "BUDGET_SPOOL_PATH cannot be written; %s waits in memory only: %s", spooled.key, error, extra=_ids(spooled)
        )
        return False
    return True


def _ids(spooled: SpooledEnding) -> Mapping[str, str]:
    return log_ids(spooled.ending.id, spooled.reserve_trace)
