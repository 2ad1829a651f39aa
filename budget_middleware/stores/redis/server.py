"""One server as a process sees it: a wire for the verbs and a client for everything else, for each event loop."""

import asyncio
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from budget_middleware.event_loops import PerEventLoop
from budget_middleware.stores.redis.dialing import check_url, dial
from budget_middleware.stores.redis.wire import Wire

MAX_CONNECTIONS = 8
"""Connections of the client, which only operators' commands and heartbeats use."""


@dataclass(slots=True)
class _Lines:
    """What one event loop has."""

    wire: Wire | None = None
    dialing: "asyncio.Task[Wire] | None" = None
    client: Any = None


class Server:
    """Connects when that is first needed; ``timeout_s`` bounds connecting and every reply.

    ValueError, in one line, for a URL that cannot be used.

    Nothing is repeated here, and redis-py's own retries are off: whoever repeats a verb must know that an earlier
    attempt may have been applied.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        check_url(url)
        self._url = url
        self._timeout_s = timeout_s
        self._lines = PerEventLoop(_Lines)

    @property
    def ready_wire(self) -> Wire | None:
        """The wire of this event loop, if one may be used at once."""
        wire = self._lines.here().wire
        return wire if wire is not None and wire.is_usable else None

    @property
    def is_idle(self) -> bool:
        """Whether the server is there and owes this event loop no reply."""
        wire = self.ready_wire
        return wire is not None and wire.is_idle

    async def wire(self) -> Wire:
        """The wire of this event loop; StoreUnavailable where none can be had."""
        if (wire := self.ready_wire) is not None:
            return wire
        lines = self._lines.here()
        if lines.dialing is None:
            # A task, for all who come meanwhile wait for the same wire, and any of them may be cancelled.
            lines.dialing = asyncio.get_running_loop().create_task(dial(self._url, timeout_s=self._timeout_s))
            lines.dialing.add_done_callback(lambda dialed: _take(lines, dialed))
        return await asyncio.shield(lines.dialing)

    # Any, because redis-py types every reply as whatever any version and option of it may give.
    def client(self) -> Any:
        lines = self._lines.here()
        if lines.client is None:
            lines.client = self._new_client()
        return lines.client

    def hang_up(self, why: str) -> None:
        """Whoever waits on the wire of this event loop gets no answer; the next call makes another wire."""
        wire = self._lines.here().wire
        if wire is not None:
            wire.break_off(why)

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        lines = self._lines.pop()
        if lines is None:
            return
        if lines.dialing is not None:
            lines.dialing.cancel()
        if lines.wire is not None:
            lines.wire.break_off("the store was closed")
        if lines.client is not None:
            await lines.client.aclose(close_connection_pool=True)

    def _new_client(self) -> Any:
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=MAX_CONNECTIONS,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        return Redis(connection_pool=pool)


def _take(lines: _Lines, dialed: "asyncio.Task[Wire]") -> None:
    lines.dialing = None
    # Looked at even if nobody waits any more: else asyncio reports an exception that nobody saw.
    if not dialed.cancelled() and dialed.exception() is None:
        lines.wire = dialed.result()
