"""Sends open pages what changes: each worker reads it once, however many pages are open.

Theory of operation: while any page listens, a task asks the store once a second for its last entries, holds and
refusals, renders what is new, once, and keeps the messages in a short queue with rising numbers. Each listener is a
generator that remembers the number it has come to and waits for the next. So a page costs its socket and nothing else:
a thousand pages are sent the same bytes. A listener that falls further behind than the queue is long is asked to load
its page again, and misses nothing by it.

How long the reader waits follows from how long it takes: it is busy for a tenth of the time at most.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from budget_middleware.operations.errors import StoreRefused, StoreUnavailable

EVERY_S: Final = 1.0
_IDLE_PARTS: Final = 10
_AWAY_EVERY_S: Final = 5.0
_SAYS_EVERY_S: Final = 15.0
"""A proxy ends a connection on which nothing comes; one whose browser is gone is noticed when something is sent."""
_KEPT_MESSAGES: Final = 256
_PAGE_AGE_S: Final = 3.0
_AWAY: Final = "away"
_BACK: Final = "back"
_log = logging.getLogger("budget_middleware")


class Message(NamedTuple):
    """An event that pages know by its name, and a part of a page for it: ``key`` says which."""

    event: str
    key: str = ""
    html: str = ""

    def packed(self) -> bytes:
        # JSON has no raw line break, which would end the field.
        return f"event: {self.event}\ndata: {json.dumps({'key': self.key, 'html': self.html})}\n\n".encode()


Look = Callable[[], Awaitable[Sequence[Message]]]
"""What is new since it was called last."""


class Feed:
    """Sends listeners what ``look`` finds."""

    def __init__(self, look: Look, *, every_s: float = EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._messages: deque[tuple[float, bytes]] = deque(maxlen=_KEPT_MESSAGES)
        self._sent = 0
        self._came = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self.listeners = 0

    async def listen(self, *, may_stay: Callable[[], bool]) -> AsyncGenerator[bytes]:
        """The events from now on, as server-sent events, as long as the listener may stay."""
        self.listeners += 1
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        # Its page was made a moment before: what was sent since is sent again.
        since_s = time.monotonic() - _PAGE_AGE_S
        at = self._sent - sum(sent_s >= since_s for sent_s, _ in self._messages)
        try:
            yield b"retry: 2000\n\n"
            while may_stay():
                came = self._came
                if at == self._sent:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_SAYS_EVERY_S):
                            await came.wait()
                if at == self._sent:
                    yield b": still here\n\n"
                    continue
                missed = self._sent - at
                at = self._sent
                if missed > len(self._messages):
                    yield Message("reload").packed()
                else:
                    yield b"".join(packed for _, packed in list(self._messages)[-missed:])
            yield Message("signed-out").packed()
        finally:
            self.listeners -= 1
            if self.listeners == 0 and self._reader is not None:
                self._reader.cancel()
                self._reader = None

    def _send(self, messages: Iterable[Message]) -> None:
        packed = [(time.monotonic(), message.packed()) for message in messages]
        if not packed:
            return
        self._messages += packed
        self._sent += len(packed)
        came, self._came = self._came, asyncio.Event()
        came.set()

    async def _read(self) -> None:
        is_away = False
        while True:
            started = time.monotonic()
            try:
                messages = await self._look()
            except (StoreUnavailable, StoreRefused):
                if not is_away:
                    self._send([Message(_AWAY)])
                is_away = True
                await asyncio.sleep(_AWAY_EVERY_S)
                continue
            except Exception:  # noqa: BLE001 - Pages go on without what is live, and the next look may succeed.
                _log.exception("the live figures of the dashboard failed")
                await asyncio.sleep(_AWAY_EVERY_S)
                continue
            self._send([Message(_BACK), *messages] if is_away else messages)
            is_away = False
            await asyncio.sleep(max(self._every_s, (time.monotonic() - started) * _IDLE_PARTS))
