"""Warns if another gateway of this ledger has different settings that must be the same for all.

Each process leaves its fingerprint (see ``core.fingerprint``) in the store as a note, at its start and once a minute,
and reads the notes of others. So a note's time is when a gateway with these settings was last alive. It logs, once
each:

- at the start, the settings of the gateway that was here before, if they were others;
- at the start, the namespaces beside it, if this one is empty and nobody was here before;
- at any time, a gateway that is alive now and has others. Nobody wins: both say so, and an operator decides.
"""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from budget_middleware.core.fingerprint import differences
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import NO_ANSWER
from budget_middleware.stores.notes import Note, Topic

EVERY_S = 60.0
ALIVE_MS = 150_000
"""A gateway whose note is not older than this is alive, or was until a moment ago."""

_log = logging.getLogger("budget_middleware")


class SettingsWatch:
    """Leaves this process's fingerprint in the store and reads those of others. An empty one switches it off."""

    def __init__(self, store: Store, fingerprint: str, *, tasks: OwnedTasks, timeout: SharedTimeout) -> None:
        self._store = store
        self._own = fingerprint
        self._tasks = tasks
        self._timeout = timeout
        self._looked_s = -EVERY_S
        self._logged: set[str] = set()

    def check(self) -> None:
        """Check in the background, once a minute at most."""
        now_s = time.monotonic()
        if self._own and now_s - self._looked_s >= EVERY_S:
            self._looked_s = now_s
            self._tasks.spawn(self._check())

    async def _check(self) -> None:
        try:
            with self._timeout.timeout():
                head = await self._store.head()
                notes = [note for note in await self._store.notes() if note.topic is Topic.SETTINGS]
                await self._store.add_note(Topic.SETTINGS, self._own)
                neighbours = await self._store.neighbours() if head.seq == 0 and not notes else ()
            if neighbours:
                _log.warning(
                    "this namespace is empty, and others in this store are not: %s; check BUDGET_NAMESPACE",
                    ", ".join(neighbours[:10]),
                )
            self._log_new(differing(self._own, notes, now_ms=head.now_ms))
        except NO_ANSWER as error:
            # The next look comes soon.
            _log.debug("the settings of other gateways could not be read: %s", error)

    def _log_new(self, others: Iterable[Note]) -> None:
        for other in others:
            if other.text not in self._logged:
                self._logged.add(other.text)
                _log.warning("%s", difference_from(self._own, other))


def differing(own: str, notes: Iterable[Note], *, now_ms: int) -> list[Note]:
    """The notes of other settings that count: of who is alive, or came after the last one with ours."""
    notes = list(notes)
    last_own_ms = max((note.time_ms for note in notes if note.text == own), default=0)
    others = [note for note in notes if note.text != own and differences(own, note.text)]
    latest_ms = max((note.time_ms for note in others), default=0)
    return [
        note
        for note in others
        if note.time_ms >= now_ms - ALIVE_MS or (note.time_ms == latest_ms and latest_ms > last_own_ms)
    ]


def difference_from(own: str, other: Note) -> str:
    """One line about a gateway with other settings."""
    seen = datetime.fromtimestamp(other.time_ms // 1000, UTC).isoformat(timespec="seconds")
    return (
        f"{', '.join(differences(own, other.text))} of this process differ from those of another gateway of this"
        f" ledger, last seen at {seen}: the two count the same requests on different counters, unless that one is gone"
    )
