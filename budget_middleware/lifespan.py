"""The server's start and shutdown: the lifespan, and what happens without one.

The app's lifespan passes through. The ledger starts when the app has started, and meets its obligations when the app
has shut down, before the server hears of that. Some apps and servers need more:

- An app that returns from its lifespan without a word knows none. It is answered for here, so that the server still
  tells of its shutdown.
- Hypercorn cancels the lifespan instead, where requests have outlasted its grace. The ledger is drained then.
- Where lifespan is off, where an app raises at it, and below a mount, nothing is heard at all. There a shutdown waits
  for nobody: uvicorn, for one, ends itself by the signal that asked it to stop, before the tasks that it has cancelled
  get another turn. Nothing can be booked then, so that what is in flight is logged when SIGTERM comes.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Lifespan:
    """One lifespan of an app: ``start`` is called once it has started, ``drain`` is awaited before its end is
    confirmed.
    """

    def __init__(
        self, receive: Receive, send: Send, *, start: Callable[[], object], drain: Callable[[], Awaitable[object]]
    ) -> None:
        self._server_receive = receive
        self._server_send = send
        self._start = start
        self._drain = drain
        self._was_asked = False
        self._has_started = False
        self._is_over = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Raises what the app raises."""
        try:
            await app(scope, self._receive, self._send)
            if not self._is_over:
                await self._answer_for_the_app()
        finally:
            if self._has_started and not self._is_over:
                await self._drain()

    async def _receive(self) -> Message:
        self._was_asked = True
        return await self._server_receive()

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._has_started = True
                self._start()
            case "lifespan.startup.failed":
                self._is_over = True
            case "lifespan.shutdown.complete" | "lifespan.shutdown.failed":
                self._is_over = True
                await self._drain()
        await self._server_send(message)

    async def _answer_for_the_app(self) -> None:
        if not self._was_asked:
            await self._receive()
        if not self._has_started:
            await self._send({"type": "lifespan.startup.complete"})
        while (await self._receive())["type"] != "lifespan.shutdown":
            pass
        await self._send({"type": "lifespan.shutdown.complete"})


async def all_ended(*endings: Awaitable[object]) -> None:
    """Wait for all of them, at once: none that fails cuts another one off. Raises what failed, once all have ended."""
    for error in await asyncio.gather(*endings, return_exceptions=True):
        if isinstance(error, BaseException):
            raise error


def call_at_sigterm(report: Callable[[], object]) -> None:
    """Call ``report`` in the running event loop when this process gets SIGTERM; the server's own handler comes after.

    Does nothing outside of the main thread, nor where nobody handles the signal, which then ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler):
        return
    loop = asyncio.get_running_loop()

    def report_and_handle(number: int, frame: FrameType | None) -> None:
        # Not logged here, in the middle of whatever was interrupted.
        with suppress(RuntimeError):  # That loop is closed.
            loop.call_soon_threadsafe(report)
        handler(number, frame)

    signal.signal(signal.SIGTERM, report_and_handle)
