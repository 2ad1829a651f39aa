"""Waiting for budget that is only held: who is refused stands in line, and asks again when something was given back.

Theory of operation. A reserve that is refused as *held* may succeed a moment later. A request that may wait brings a
`Ticket`, and stands in the line of the account whose counter refused: of one event loop, by priority and then in the
order of arrival. Only the first of a line asks the store, so a thousand that wait cost what one does:

    reserve ──> held ──> join the line ──> [first, and woken] ──> ask ──> admitted: the next asks, there may be more
                  ^                                                │
                  └───────────── held: first again ────────────────┘      spent: refused, and the next asks

- *What wakes.* Endings of this worker, by its ledger; what any process gives back, by one subscription for an event
  loop (``Store.listen``), which there is only while somebody waits. Either way it is a name of an account, and never a
  promise: the store decides.
- *What else wakes.* A message may be lost, a subscription may break, a limit may be raised, a window may end: so the
  first of each line asks about once a second as well, and nobody else does.
- *Who comes later* stands in line behind those who wait for one of its accounts, and does not ask before: a small
  request would else overtake a large one for ever. What is served by another worker may.
- *Rates.* A refusal by a rate is no matter of what others hold: its window has to end. If that is soon enough for the
  request, it waits in the same line, which is woken then; if not, it is refused at once.
- *The end.* A request that has waited long enough asks once more, wherever it stands, and takes what the store says.
  Who left asks no more, and what it may just have got is given back.
"""

import asyncio
from collections.abc import Callable, Iterable
from enum import StrEnum
from time import monotonic
from typing import NamedTuple, Protocol

from budget_middleware.core.answers import Answer
from budget_middleware.core.limits.rate_limits import opens_in_ms
from budget_middleware.ledger.waiting.lines import Line, Room


class WaitEnd(StrEnum):
    """How a wait ended."""

    ADMITTED = "admitted"
    SPENT = "spent"
    TIMEOUT = "timeout"
    LEFT = "left"
    CROWDED = "crowded"
    SHUTDOWN = "shutdown"
    FAILED = "failed"  # The store gave no answer, or the request was cancelled.


class CallerLeftError(Exception):
    """Who waited has left: there is nobody to be admitted."""


class Terms(NamedTuple):
    """How long somebody waits at most, and before whom: a higher priority is served first."""

    at_most_s: float
    priority: float = 0


class Caller(Protocol):
    """Who waits."""

    def terms(self) -> Terms: ...

    def has_room(self) -> bool:
        """Whether what is kept of it may be kept while it waits."""
        ...

    def watch(self, on_left: Callable[[], None]) -> Callable[[], None]:
        """Call ``on_left`` if it leaves; what is returned ends that."""
        ...


class Ticket:
    """The place in line of one reserve. ``waited_s`` is for how long it waited, None if it never did.

    ``asked_s`` is since when it has not waited, on the monotonic clock. `close` must be called.
    """

    __slots__ = (
        "_arrived_s",
        "_caller",
        "_deadline",
        "_heard",
        "_line",
        "_opening",
        "_room",
        "_stop_watching",
        "_turn",
        "asked_s",
        "end",
        "has_left",
        "key",
        "terms",
        "waited_s",
    )

    def __init__(self, room: "Room", caller: Caller) -> None:
        self.terms: Terms | None = None
        self.key = (0.0, 0)
        self.end: WaitEnd | None = None
        self.has_left = False
        self.waited_s: float | None = None
        self._room = room
        self._caller = caller
        self._heard = room.heard
        self._line: Line | None = None
        self._turn: asyncio.Future[None] | None = None
        self._arrived_s = 0.0
        self.asked_s = monotonic()
        self._deadline: asyncio.TimerHandle | None = None
        self._opening: asyncio.TimerHandle | None = None
        self._stop_watching: Callable[[], None] | None = None

    async def wait_behind_others(self, accounts: Iterable[str]) -> None:
        """Before the store is asked at all: let those go first who wait for one of these accounts."""
        if not self._room.lines:
            return
        terms = self._take_terms()
        for account in accounts:
            line = self._room.lines.get(account)
            if terms.at_most_s > 0 and line is not None and line.tickets[0].key < self.key and self._has_room(line):
                await self._wait_in(line)
                return

    async def may_ask_again(self, answer: Answer) -> bool:
        """After an answer of the store: True, once it is time to ask again; False where that answer stands."""
        rejection = answer.rejection
        if answer.admits or rejection is None or self.end is not None:
            return False
        opens_ms = None if rejection.is_held else opens_in_ms(rejection, now_ms=answer.now_ms)
        if not rejection.is_held and (opens_ms is None or opens_ms > self._left_s() * 1000):
            return False
        terms, line = self._take_terms(), self._room.line_of(rejection.target.account)
        if terms.at_most_s <= 0:
            self._room.close_if_empty(line)
            return False
        if self._line is not line and not self._has_room(line):
            self._room.close_if_empty(line)
            self.end, self.waited_s = WaitEnd.CROWDED, self.waited_s or 0.0
            return False
        if self._line is None and self._heard != self._room.heard:
            # Something was given back while the store was asked: that may have been what is waited for.
            line.is_woken = True
        if opens_ms is not None:
            self._wake_when_open(line, opens_ms)
        await self._wait_in(line)
        return True

    def close(self, answer: Answer | None) -> None:
        """The end of it all: ``answer`` is the store's last one, None where there is none."""
        if self._line is not None:
            self._line.leave(self)
            self._line = None
        if self._deadline is not None:
            self._deadline.cancel()
        if self._opening is not None:
            self._opening.cancel()
        if self._stop_watching is not None:
            self._stop_watching()
        if self.waited_s is None:
            return
        if self._arrived_s:
            self.waited_s = monotonic() - self._arrived_s
        if answer is None:
            self.end = WaitEnd.LEFT if self.has_left else WaitEnd.FAILED
        elif answer.admits:
            self.end = WaitEnd.LEFT if self.has_left else WaitEnd.ADMITTED
        elif answer.rejection is not None and not answer.rejection.is_held:
            self.end = WaitEnd.SPENT

    def ask(self) -> None:
        """It is this one's turn."""
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def dismiss(self) -> None:
        self._give_up(WaitEnd.SHUTDOWN)

    def _give_up(self, end: WaitEnd) -> None:
        """Wait no more: ask once, wherever it stands."""
        if self.end is None:
            self.end = end
            self.ask()

    def _left_s(self) -> float:
        """For how long it may wait still."""
        waited_s = monotonic() - self._arrived_s if self._arrived_s else 0.0
        return self._take_terms().at_most_s - waited_s

    def _wake_when_open(self, line: "Line", opens_ms: int) -> None:
        """Wake the line when the rate's window has ended; by another's refusal meanwhile, that may be put off."""
        if self._opening is not None:
            self._opening.cancel()
        # The first millisecond of the next window.
        self._opening = asyncio.get_running_loop().call_later((opens_ms + 1) / 1000, line.wake)

    def _take_terms(self) -> Terms:
        if self.terms is None:
            self.terms = self._caller.terms()
            self.key = (-self.terms.priority, next(self._room.numbers))
        return self.terms

    def _has_room(self, line: "Line") -> bool:
        """No account takes more than half of the places from the others."""
        if self._line is not None:
            return True
        at_most = self._room.at_most
        return self._room.n_tickets < at_most and len(line.tickets) < max(1, at_most // 2) and self._caller.has_room()

    async def _wait_in(self, line: "Line") -> None:
        """Until it is this one's turn. CallerLeftError."""
        loop = asyncio.get_running_loop()
        if self.waited_s is None:
            assert self.terms is not None
            self.waited_s, self._arrived_s = 0.0, monotonic()
            self._deadline = loop.call_later(self.terms.at_most_s, self._give_up, WaitEnd.TIMEOUT)
            self._stop_watching = self._caller.watch(self._leave)
        self._turn = loop.create_future()
        if self._line is line:
            line.refused(self)
        else:
            if self._line is not None:
                self._line.leave(self)
            self._line = line
            line.join(self)
        try:
            if not self.has_left:
                await self._turn
        finally:
            self._turn, self.asked_s = None, monotonic()
        if self.has_left:
            raise CallerLeftError

    def _leave(self) -> None:
        self.has_left = True
        self.ask()
