"""What the client of a session sends, in its order, and how it waits for budget.

While a call waits, somebody must notice that its client leaves, and the server says so only to whoever receives. So the
inbox reads ahead then, a little: what it has read comes next, and the rest stays with the server, which slows the
client down.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive

from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Terms
from budget_middleware.request.bodies.in_hand import BodiesInHand
from budget_middleware.request.waiting import terms_of
from budget_middleware.sessions.event_body import EventBody, data_of
from budget_middleware.settings import Settings

# While a call waits: half a minute of sound, in the pieces in which clients send it, would be too much for 2,000.
_MOST_MESSAGES_AHEAD: Final = 64
_MOST_BYTES_AHEAD: Final = 65_536


class Inbox:
    """The messages of one client. Only one caller may wait for the next.

    With ``may_interrupt`` messages of our own go before the client's, also while the next one is waited for. That takes
    a task for each message.
    """

    def __init__(self, receive: Receive, *, may_interrupt: bool = False) -> None:
        self._receive = receive
        self._may_interrupt = may_interrupt
        # Lists, of which 2,000 idle sessions have less than of deques; they are short.
        self._injected: list[Message] = []
        self._woken: asyncio.Future[None] | None = None
        self._ahead: list[Message] = []
        self._n_bytes_ahead = 0
        self._reading: asyncio.Task[None] | None = None
        self._on_left: Callable[[], None] | None = None

    def inject(self, message: Message) -> None:
        """Make this the next message; `may_interrupt`."""
        self._injected.append(message)
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def next(self) -> Message:
        """The next message."""
        while not (self._injected or self._ahead):
            if self._reading is not None and self._reading.done():
                reading, self._reading = self._reading, None
                reading.result()
            elif self._reading is not None:
                # A server's receive may lose a message when it is cancelled, so this waits beside it.
                self._woken = asyncio.get_running_loop().create_future()
                await asyncio.wait((self._reading, self._woken), return_when=asyncio.FIRST_COMPLETED)
            elif self._may_interrupt:
                self._reading = asyncio.get_running_loop().create_task(self._read())
            else:
                return await self._receive()
        if self._injected:
            return self._injected.pop(0)
        message = self._ahead.pop(0)
        self._n_bytes_ahead -= len(data_of(message))
        return message

    def watch(self, on_left: Callable[[], None]) -> Callable[[], None]:
        """Read ahead, and call ``on_left`` if the client leaves; what is returned ends that."""
        self._on_left = on_left
        if self._ahead and self._ahead[-1]["type"] == "websocket.disconnect":
            asyncio.get_running_loop().call_soon(self._report_left)
        elif self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read())
        return self._stop_watching

    def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        """Read one message, and go on while somebody watches."""
        is_first = True
        while is_first or (self._on_left is not None and self._has_room()):
            is_first = False
            message = await self._receive()
            self._ahead.append(message)
            self._n_bytes_ahead += len(data_of(message))
            if message["type"] == "websocket.disconnect":
                self._report_left()
                return

    def _has_room(self) -> bool:
        return len(self._ahead) < _MOST_MESSAGES_AHEAD and self._n_bytes_ahead < _MOST_BYTES_AHEAD

    def _report_left(self) -> None:
        if self._on_left is not None:
            self._on_left()

    def _stop_watching(self) -> None:
        self._on_left = None


class WaitingSession:
    """Whoever asks for a call on a session, and may wait for it (`ledger.waiting.Caller`)."""

    __slots__ = ("_body", "_headers", "_in_hand", "_inbox", "_settings")

    def __init__(
        self, body: EventBody, inbox: Inbox, *, headers: HeaderTable, in_hand: BodiesInHand, settings: Settings
    ) -> None:
        self._body = body
        self._inbox = inbox
        self._headers = headers
        self._in_hand = in_hand
        self._settings = settings

    def terms(self) -> Terms:
        """Those of the handshake."""
        return terms_of(self._headers, self._settings)

    def has_room(self) -> bool:
        """Whether there is room for the event beside all that wait for budget."""
        return self._in_hand.n_waiting_bytes + self._body.n_bytes <= self._in_hand.max_bytes // 2

    def watch(self, on_left: Callable[[], None]) -> Callable[[], None]:
        """Count the event among those that wait, and see whether its client leaves."""

        def see_left() -> None:
            self._body.is_client_gone = True
            on_left()

        def stop() -> None:
            self._in_hand.n_waiting_bytes -= self._body.n_bytes
            stop_watching()

        self._in_hand.n_waiting_bytes += self._body.n_bytes
        stop_watching = self._inbox.watch(see_left)
        return stop
