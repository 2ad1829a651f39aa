"""Hears of accounts whose held budget was freed, by any process.

Theory of operation. Redis publishes on a channel. Listening needs a connection of its own, since a subscribed one takes
no other commands. Nobody pays for that while nobody waits: the scripts publish only until a time that stands in the
meta hash, and who listens moves it on (the verb ``listen``). That a message is lost is nothing to rely on either way:
who waits asks again now and then, see ``ledger/waiting/waiting.py``.

    who waits ──> listen, every LISTENED_MS / 3 ──> meta: listened_until
    ending    ──> script: not over yet?  ──> PUBLISH {budget}:freed "key:1f3a team:search" ──> each worker that listens
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import hiredis

from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.redis.wire import NO_REPLY, Reply, Wire
from budget_middleware.stores.redis.wrong_server import fault_in, wrong_server

LISTENED_MS = 9_000
"""For so long endings are published after the last worker has said that it listens."""

ANNOUNCED_EVERY_S = LISTENED_MS / 3000

OnFreed = Callable[[Sequence[str]], object]


class SubscribedWire(Wire):
    """A wire that is given up to one channel, once it has been connected: whatever comes then is a message."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._on_freed: OnFreed | None = None
        self._is_answered = True
        self._confirmed: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[str] = self._loop.create_future()

    async def subscribe(self, channel: str, on_freed: OnFreed, *, timeout_s: float) -> None:
        """From when this returns on nothing is missed. StoreUnavailable, or WrongServer where that is forbidden."""
        self._on_freed = on_freed
        self._write("SUBSCRIBE", channel)
        either: set[asyncio.Future[Any]] = {self._confirmed, self._closed}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._confirmed.done():
            raise StoreUnavailable(self._closed.result() if self._closed.done() else "the subscription is not answered")
        self._confirmed.result()

    async def stay(self, wait_s: float) -> None:
        """Go on listening for so long. StoreUnavailable once there is nothing to be heard any more."""
        self._is_answered = False
        self._write("PING")
        await asyncio.wait({self._closed}, timeout=wait_s)
        if self._closed.done():
            raise StoreUnavailable(self._closed.result())
        if not self._is_answered:
            raise StoreUnavailable("the subscription is silent")

    def _write(self, *words: str) -> None:
        if self._transport is not None:
            self._transport.write(hiredis.pack_command(words))  # type: ignore[arg-type]  # As in the wire.

    def data_received(self, data: bytes) -> None:
        if self._on_freed is None:
            super().data_received(data)
            return
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not NO_REPLY:
                self._take(reply)
        except hiredis.ProtocolError as error:
            self.break_off(f"what the server sent is no message: {error!r}")

    def _take(self, reply: Reply) -> None:
        match reply:
            case ["message", _, str(accounts)]:
                assert self._on_freed is not None
                self._on_freed(accounts.split())
            case ["subscribe", *_]:
                self._confirmed.set_result(None)
            case ["pong", *_]:
                self._is_answered = True
            case hiredis.ReplyError() if not self._confirmed.done():
                fault = fault_in(str(reply))
                error = wrong_server(str(reply), fault) if fault else StoreUnavailable(str(reply))
                self._confirmed.set_exception(error)

    def break_off(self, why: str) -> None:
        super().break_off(why)
        if not self._closed.done():
            self._closed.set_result(why)


async def listen_forever(
    wire: SubscribedWire,
    channel: str,
    on_freed: OnFreed,
    *,
    announce: Callable[[], Awaitable[object]],
    on_ready: Callable[[], object],
    timeout_s: float,
) -> None:
    """Subscribe, and call ``on_freed`` with the accounts of each message, until cancelled or cut off.

    ``announce`` informs the store that somebody listens; ``on_ready`` is called once nothing is missed any more.
    """
    try:
        await wire.subscribe(channel, on_freed, timeout_s=timeout_s)
        await announce()
        on_ready()
        while True:
            await wire.stay(ANNOUNCED_EVERY_S)
            await announce()
    finally:
        wire.break_off("nobody listens any more")
