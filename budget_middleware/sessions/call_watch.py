"""A sideband: a WebSocket on a call that goes around the gateway. Which time of the call has it watched?

Theory of operation. The server sends all events of the call, in their order. What has come through here was seen, and
what has cost something was booked; so the call was watched from the first event to the last, but for

- responses that have begun and whose end did not come: whoever leaves just before that has not shown what they cost. So
  the time that was watched ends where none is under way;
- events that are still on their way. A client that stops reading keeps those behind them from coming here, while it
  talks on. So an event proves the time until it came only if none was in line: if the app had to wait for it, or for
  one before it, behind which all were passed on at once;
- silence behind the last event, which proves nothing.

The record of the call (`request.jobs.call_records`) gets what was watched once a minute and at the end. A session
enters itself as a watcher with its first event, so that a call that is hung up is not booked before its end is known.
"""

import asyncio
import secrets
from collections.abc import Callable
from time import monotonic
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.jobs.realtime_direct import watched_at
from budget_middleware.apis.openai.realtime.call import OpenAIRealtime
from budget_middleware.apis.protocol.session_events import SessionDialect
from budget_middleware.ledger import Ledger
from budget_middleware.request.jobs.call_records import CallRecord, Interval
from budget_middleware.request.jobs.direct_calls import change_record, find_call
from budget_middleware.sessions.session import Session

WRITTEN_EVERY_MS: Final = 60_000
# Passed on within so long, an event has kept none behind it; where the app waited so long for it, none was in line.
_AT_ONCE_S: Final = 0.05


class WatchedTime:
    """The time that the events of one session prove. Times in seconds are of the monotonic clock."""

    def __init__(self) -> None:
        self.interval: Interval | None = None
        self._is_behind = True
        self._free_s: float | None = None

    def take(self, came_ms: int, *, came_s: float, passed_s: float, is_quiet: bool) -> None:
        """An event came, and was passed on. ``is_quiet``: before it, or behind it, no response was under way."""
        if self.interval is None:
            # The first there is: none was before it.
            self.interval, self._is_behind = (came_ms, came_ms), False
        elif self._free_s is not None and came_s - self._free_s >= _AT_ONCE_S:
            self._is_behind = False
        if is_quiet and not self._is_behind:
            self.interval = self.interval[0], came_ms
        if passed_s - came_s > _AT_ONCE_S:
            self._is_behind = True
        self._free_s = passed_s


class CallWatch:
    """Follows one sideband, and keeps the record of its call."""

    def __init__(self, ledger: Ledger, call_id: str) -> None:
        self._ledger = ledger
        self._call_id = call_id
        self._watcher = secrets.token_hex(4)
        self._time = WatchedTime()
        self._written_ms = 0
        # What is written one after the other.
        self._turn = asyncio.Lock()

    async def run(self, session: Session, app: ASGIApp) -> None:
        """Run the session."""

        async def followed(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_and_watch(message: Message) -> None:
                if message["type"] == "websocket.send" and not session.is_over:
                    await self._pass(message, session, send)
                else:
                    await send(message)

            await app(scope, receive, send_and_watch)

        try:
            await session.run(followed)
        finally:
            if self._time.interval is not None:
                self._write(lambda record: record.without_watcher(self._watcher))

    async def _pass(self, message: Message, session: Session, send: Send) -> None:
        came_ms, came_s, was_quiet = self._ledger.store_time_ms(), monotonic(), session.is_quiet
        await send(message)
        is_first = self._time.interval is None
        self._time.take(came_ms, came_s=came_s, passed_s=monotonic(), is_quiet=was_quiet or session.is_quiet)
        assert self._time.interval is not None
        if is_first or self._time.interval[1] - self._written_ms >= WRITTEN_EVERY_MS:
            self._write(lambda record: record.with_watcher(self._watcher))

    def _write(self, change: Callable[[CallRecord], CallRecord]) -> None:
        interval = self._time.interval
        assert interval is not None
        self._written_ms = interval[1]

        async def write() -> None:
            async with self._turn:
                await change_record(self._ledger, self._call_id, lambda record: change(record.with_watched(interval)))

        self._ledger.run_in_background(write())


async def watch_of(dialect: SessionDialect, scope: Scope, ledger: Ledger) -> CallWatch | None:
    """The watch of a handshake on a call that a ticket is held for; None for any other."""
    address = watched_at(scope) if dialect.api.name == OpenAIRealtime.name else None
    if address is None:
        return None
    return CallWatch(ledger, address.id) if await find_call(ledger, address) is not None else None
