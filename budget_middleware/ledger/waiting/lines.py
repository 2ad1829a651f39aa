"""The lines of those who wait for held budget, and what wakes them. See ``waiting`` for the theory of operation."""

import asyncio
import logging
import random
from bisect import insort
from collections.abc import Iterable
from contextvars import Context
from itertools import count
from typing import Protocol

from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable

RETRY_S = 1.0
"""So often, give or take a quarter, the first of a line asks without having been woken."""

GAP_S = 0.005
"""An account of which something is given back at every moment is asked for so often at most. Of two hundred that wait
for calls of 2 ms, 20 ms would make the last wait three times as long, and save a fifteenth of the questions.
"""

LINGER_S = 10.0
"""For so long a worker goes on listening when nobody waits any more: the next may come soon."""

_log = logging.getLogger("budget_middleware")


class InLine(Protocol):
    """Who stands in a line: the smallest key first."""

    @property
    def key(self) -> tuple[float, int]: ...

    def ask(self) -> None:
        """It is its turn."""
        ...

    def dismiss(self) -> None:
        """It is to wait no more."""
        ...


class Line:
    """Who waits for one account, the first first.

    The first may be asking the store, or not; what wakes the line meanwhile is kept for when it was refused again. Two
    questions are `GAP_S` apart at least, unless it is another one who asks.
    """

    def __init__(self, room: "Room", account: str) -> None:
        self.tickets: list[InLine] = []
        self.asking: InLine | None = None
        self.is_woken = False
        self.account = account
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._asked_s = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def join(self, ticket: InLine) -> None:
        self._room.n_tickets += 1
        insort(self.tickets, ticket, key=_key)
        self._room.listen()
        # A running timer is left alone: otherwise each newcomer would put it off.
        if self.asking is None and (self._timer is None or self.is_woken):
            self._go_on()

    def refused(self, ticket: InLine) -> None:
        """It has asked, and waits again."""
        if self.asking is ticket:
            self.asking = None
            self._go_on()

    def leave(self, ticket: InLine) -> None:
        """For another line, or for good."""
        self._room.n_tickets -= 1
        was_next = ticket in (self.tickets[0], self.asking)
        self.tickets.remove(ticket)
        if self.asking is ticket:
            self.asking = None
        if not self.tickets:
            self._stop_timer()
            self._room.close_if_empty(self)
        elif was_next and self.asking is None:
            self._ask()

    def wake(self) -> None:
        self.is_woken = True
        if self.asking is None:
            self._go_on()

    def _go_on(self) -> None:
        """Have the first ask when that is due: soon if something was given back, else in about a second."""
        self._stop_timer()
        pause_s = _retry_pause_s()
        if self.is_woken:
            pause_s = self._asked_s + GAP_S - self._loop.time()
        if pause_s > 0:
            self._timer = self._loop.call_later(pause_s, self._ask)
        else:
            self._ask()

    def _ask(self) -> None:
        self._stop_timer()
        self._asked_s, self.is_woken, self.asking = self._loop.time(), False, self.tickets[0]
        self.asking.ask()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Room:
    """All lines of one event loop, and what wakes them."""

    def __init__(self, store: Store, at_most: int) -> None:
        self.lines: dict[str, Line] = {}
        self.at_most = at_most
        self.n_tickets = 0
        self.numbers = count(1)
        self.heard = 0
        self._store = store
        self._listening: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None

    def line_of(self, account: str) -> Line:
        line = self.lines.get(account)
        if line is None:
            line = self.lines[account] = Line(self, account)
        return line

    def close_if_empty(self, line: Line) -> None:
        if not line.tickets:
            self.lines.pop(line.account, None)
        if not self.lines and self._listening is not None and self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, self.stop_listening)

    def wake(self, accounts: Iterable[str]) -> None:
        """Wake the lines of these accounts: less is held on them now."""
        self.heard += 1
        for account in accounts:
            line = self.lines.get(account)
            if line is not None:
                line.wake()

    def wake_all(self) -> None:
        self.wake(list(self.lines))

    def listen(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._listening is None:
            # In a context of its own: no request's span is the parent of what comes later.
            self._listening = asyncio.get_running_loop().create_task(self._listen(), context=Context())

    async def _listen(self) -> None:
        is_told = False
        while True:
            try:
                await self._store.listen(self.wake, on_ready=self.wake_all)
            except (StoreUnavailable, StoreRefused) as error:
                if not is_told:
                    _log.warning(
                        "no subscription to other workers' endings; waiting requests ask the store each second: %s",
                        error,
                    )
                is_told = True
                await asyncio.sleep(_retry_pause_s())
            else:
                return

    def stop_listening(self) -> "asyncio.Task[None] | None":
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
        return listening


def _key(ticket: InLine) -> tuple[float, int]:
    return ticket.key


def _retry_pause_s() -> float:
    """So that workers do not ask all at once."""
    return RETRY_S * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
