"""One connection that many calls share.

    calls ──> server ──> replies, in the order of the calls

Theory of operation. No call waits for a free connection, and none has a timer or a task of its own. A caller that gives
up does not affect the others: the reply to its call arrives in its place and is dropped. An error reply fails only its
own call. While the server is silent the wire takes no new calls, and earlier ones may still be answered; the first byte
makes it usable again. When the connection breaks, all waiting calls fail with StoreUnavailable. So does every later
call, at once: a call that was never sent proves no silence.

    usable ── no byte for LATE of the time-out ──> late ── all its calls timed out ──> closed
       ^                                             │                                   ^
       └────────────── a byte arrives ───────────────┘     retired ── its last reply ────┘

A late wire takes no new calls: they go to another one. A retired wire was replaced by another.

A `LoopClock` measures silence from the last byte received: as long as the server sends anything, it is working through
the calls of a burst in their order, and a worker that is late itself first has to read what has arrived. A call's
silence begins when it is sent; the time that its caller had waited before does not count.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import hiredis

from budget_middleware.loop_clock import TICKS_PER_TIMEOUT, LoopClock, after_polling
from budget_middleware.stores.errors import StoreUnavailable

LATE = 0.25
"""A wire that was silent for so much of the time-out takes no new calls: another is made for these."""

Argument = str | bytes
Reply = object
"""What hiredis makes of a reply: text, a number, None, a list of them, or a ``ReplyError`` (not raised)."""

NO_REPLY = object()


class Waiter(Protocol):
    """Receives a reply, also when nobody wants it any more (``done``)."""

    def done(self) -> bool: ...
    def take_reply(self, reply: Reply) -> None: ...
    def fail(self, error: Exception) -> None: ...


class ReplyFuture(asyncio.Future[Reply]):
    """Waits for the reply to a call of its own."""

    def take_reply(self, reply: Reply) -> None:
        if not self.done():
            self.set_result(reply)

    def fail(self, error: Exception) -> None:
        self.set_exception(error)


class Silence:
    """Whether a server, on whatever connection, has let a whole time-out pass, and sent nothing since."""

    __slots__ = ("is_on",)

    def __init__(self) -> None:
        self.is_on = False


class Wire(asyncio.Protocol):
    """A protocol to be connected by an event loop; ``timeout_s`` bounds every reply.

    ``silence`` is that of the server, and noted here. While it is in use, ``on_tick`` is called ten times a time-out.
    """

    def __init__(self, *, timeout_s: float, silence: Silence | None = None) -> None:
        self._is_late = self._is_retired = False
        self._silence = silence or Silence()
        self.on_tick: Callable[[Wire], None] | None = None
        # The command for each script that was sent whole on this wire, so that the server knows it, by its digest.
        self.commands: dict[str, tuple[str, str]] = {}
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        # Text that is no UTF-8 must not stop the replies after it: its reader will find it damaged.
        self._reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape", notEnoughData=NO_REPLY)
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: deque[tuple[float, Waiter]] = deque()
        self._clock = LoopClock(tick_s=timeout_s / TICKS_PER_TIMEOUT, on_tick=self._look)
        self._heard_s = 0.0
        self._is_settling = False

    @property
    def is_usable(self) -> bool:
        """Whether to send new calls here."""
        return self._transport is not None and not self._is_late and not self._is_retired

    @property
    def is_idle(self) -> bool:
        """Whether the server owes no reply."""
        return not self._waiting

    def call(self, *words: Argument) -> "asyncio.Future[Reply]":
        """Send a command; the future is the caller's, to cancel at will.

        It raises StoreUnavailable where no reply comes. UnicodeEncodeError for words that cannot be sent.
        """
        reply = ReplyFuture(loop=self._loop)
        self.send(reply, *words)
        return reply

    def send(self, waiter: Waiter, *words: Argument) -> None:
        """Send a command; ``waiter`` gets its reply, or StoreUnavailable if none comes."""
        # Packed first: what cannot be sent must not be waited for.
        packed = hiredis.pack_command(words)  # type: ignore[arg-type]  # Its stub forgets that there may be several.
        if self._transport is None:
            _fail(waiter, "the connection is closed")
            return
        self._transport.write(packed)
        self._waiting.append((self._clock.now_s, waiter))
        if not self._clock.is_ticking:
            self._clock.start(self._loop)

    def retire(self) -> None:
        """Take no new calls; the connection goes with the last reply."""
        self._is_retired = True
        if not self._waiting:
            self.break_off("nobody waits for replies any more")

    def break_off(self, why: str) -> None:
        """Close the connection; waiting calls get no answer."""
        waiting, self._waiting = self._waiting, deque()
        for _, reply in waiting:
            _fail(reply, why)
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _look(self) -> bool:
        """Let the loop read before a silence is believed; whether replies are owed still."""
        if self.on_tick is not None and self.is_usable:
            self.on_tick(self)
        if not self._waiting:
            return False
        if self._seems_late and not self._is_settling:
            self._is_settling = True
            after_polling(self._loop, self._judge_silence)
        return True

    @property
    def _seems_late(self) -> bool:
        return bool(self._waiting) and self._silence_of(self._waiting[0][0]) >= LATE * self._timeout_s

    def _silence_of(self, sent_s: float) -> float:
        """For how long a call that was sent then has waited without a byte from the server."""
        return self._clock.now_s - max(sent_s, self._heard_s)

    def _judge_silence(self) -> None:
        """Take no new calls on a silent wire; give up those of its calls whose time is up."""
        self._is_settling = False
        self._is_late = self._seems_late
        for sent_s, reply in self._waiting:
            if self._silence_of(sent_s) <= self._timeout_s:
                break
            if not reply.done():
                self._silence.is_on = True
                # Its reply may come yet, and keeps its place.
                _fail(reply, f"no answer within {self._timeout_s:g} s")
        if self._waiting and all(reply.done() for _, reply in self._waiting):
            self.break_off("nobody waits for replies any more")

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asked for its class: uvloop's are of none of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._clock.now_s
        self._is_late = self._silence.is_on = False
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not NO_REPLY:
                _, waiting = self._waiting.popleft()
                waiting.take_reply(reply)
            if self._is_retired and not self._waiting:
                self.break_off("nobody waits for replies any more")
        except (hiredis.ProtocolError, IndexError) as error:
            self.break_off(f"what the server sent is no reply to a call: {error!r}")

    def connection_lost(self, error: Exception | None) -> None:
        self.break_off(f"the connection is lost: {error!r}" if error else "the server closed the connection")


def _fail(reply: Waiter, why: str) -> None:
    if not reply.done():
        reply.fail(StoreUnavailable(why))
