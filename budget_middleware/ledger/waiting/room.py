"""Who waits in this process for budget that others hold. See ``waiting`` for the theory of operation."""

import asyncio
from collections.abc import Iterable

from budget_middleware.core.model import Target
from budget_middleware.event_loops import PerEventLoop
from budget_middleware.ledger.waiting.lines import Room
from budget_middleware.ledger.waiting.waiting import Caller, Ticket
from budget_middleware.stores.base import Store


class WaitingRoom:
    """Who waits in this process, by event loop; at most ``at_most`` in each.

    ``is_used``: some request could have waited, so others may have to wake it.
    """

    def __init__(self, store: Store, *, at_most: int) -> None:
        self.is_used = False
        self._rooms = PerEventLoop(lambda: Room(store, at_most))

    @property
    def n_waiting(self) -> int:
        return sum(room.n_tickets for room in self._rooms.values())

    def ticket(self, caller: Caller) -> Ticket:
        self.is_used = True
        return Ticket(self._rooms.current(), caller)

    def wake(self, targets: Iterable[Target]) -> None:
        """Wake the requests that wait for budget on these counters: this worker has ended a hold on them."""
        room = self._rooms.current()
        if room.lines:
            room.wake({target.account for target in targets})

    async def close(self) -> None:
        """Let the waiting requests of this event loop ask once more and leave; stop listening."""
        room = self._rooms.current()
        room.at_most = 0
        for line in list(room.lines.values()):
            for ticket in list(line.tickets):
                ticket.dismiss()
        listening = room.stop_listening()
        if listening is not None:
            # Not for ever: a driver may swallow a cancellation.
            await asyncio.wait({listening}, timeout=1)
