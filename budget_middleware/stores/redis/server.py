"""One server: for each event loop a wire for the verbs, and a redis-py client for everything else."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from budget_middleware.event_loops import PerEventLoop
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.redis.dialing import bring_up, check_url, dial
from budget_middleware.stores.redis.listening import SubscribedWire
from budget_middleware.stores.redis.wire import Reply, Silence, Wire
from budget_middleware.stores.redis.wrong_server import fault_of_role

MAX_CONNECTIONS = 8
"""Connections of the client, which only operators' commands and heartbeats use."""


ROLE_EVERY_S = 1.0
"""A server may be demoted with its connections left up: while it is used, it is asked so often for its role. Refusals
write nothing, so a replica would go on refusing, with the figures of the past."""

_log = logging.getLogger("budget_middleware")


@dataclass(slots=True)
class _Lines:
    """What one event loop has."""

    role_due_s: float = 0.0
    silence: Silence = field(default_factory=Silence)
    wire: Wire | None = None
    dialing: "asyncio.Task[Wire] | None" = None
    client: Any = None
    closing: "asyncio.Task[None] | None" = None


class Server:
    """Connects when that is first needed; ``timeout_s`` bounds connecting and every reply.

    ValueError, in one line, for a URL that cannot be used.

    Nothing is repeated here, and redis-py's own retries are off: the caller that repeats a verb must know that an
    earlier attempt may have been applied.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        check_url(url)
        self._url = url
        self._timeout_s = timeout_s
        self._dial_timeout = SharedTimeout(timeout_s)
        self._lines = PerEventLoop(_Lines)

    @property
    def ready_wire(self) -> Wire | None:
        """The wire of this event loop, if one may be used at once."""
        wire = self._lines.current().wire
        return wire if wire is not None and wire.is_usable else None

    @property
    def is_silent(self) -> bool:
        """Whether the server has let this event loop wait for a whole time-out, and sent nothing since."""
        return self._lines.current().silence.is_on

    async def wire(self) -> Wire:
        """The wire of this event loop; StoreUnavailable where none can be had."""
        if (wire := self.ready_wire) is not None:
            return wire
        lines = self._lines.current()
        if lines.dialing is None:
            # A task, for all who come meanwhile wait for the same wire, and any of them may be cancelled.
            dialing = dial(self._url, time_limit=self._dial_timeout, silence=lines.silence)
            lines.dialing = asyncio.get_running_loop().create_task(dialing)
            lines.dialing.add_done_callback(lambda dialed: self._take(lines, dialed))
        return await asyncio.shield(lines.dialing)

    # Any, because redis-py types every reply as whatever any version and option of it may give.
    def client(self) -> Any:
        lines = self._lines.current()
        if lines.client is None:
            lines.client = self._new_client()
        return lines.client

    async def subscribed_wire(self) -> SubscribedWire:
        """Another wire, for its caller to listen with and to break off; StoreUnavailable where none can be had."""
        silence = self._lines.current().silence
        wire = SubscribedWire(timeout_s=self._timeout_s, silence=silence)
        await bring_up(wire, self._url, time_limit=self._dial_timeout, silence=silence)
        return wire

    def hang_up(self, why: str) -> None:
        """Fail the calls that wait on this event loop's wire; the next call makes another wire."""
        wire = self._lines.current().wire
        if wire is not None:
            wire.break_off(why)

    def leave(self, why: str) -> None:
        """Look the server's address up again for the next call; calls under way still get their replies."""
        lines = self._lines.current()
        if lines.wire is not None and lines.wire.is_usable:
            _log.warning("left the store's connection: %s", why)
            lines.wire.retire()
        client, lines.client = lines.client, None
        if client is not None:
            lines.closing = asyncio.get_running_loop().create_task(client.aclose(close_connection_pool=True))

    def ask_role(self, wire: Wire) -> None:
        """Ask from time to time whether the server is a primary still, and leave it if not."""
        lines, now_s = self._lines.current(), asyncio.get_running_loop().time()
        if now_s >= lines.role_due_s:
            lines.role_due_s = now_s + ROLE_EVERY_S
            wire.send(_RoleCheck(self), "ROLE")

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

    def _take(self, lines: _Lines, dialed: "asyncio.Task[Wire]") -> None:
        lines.dialing = None
        # Looked at even if nobody waits any more: else asyncio reports an exception that nobody saw.
        if not dialed.cancelled() and dialed.exception() is None:
            if lines.wire is not None:
                lines.wire.retire()
            lines.wire = dialed.result()
            lines.wire.on_tick = self.ask_role

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


class _RoleCheck:
    """Waits for a reply to ROLE; a server that forbids the question is believed to be a primary."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def done(self) -> bool:
        """Nobody else can end the wait."""
        return False

    def take_reply(self, role: Reply) -> None:
        if fault := fault_of_role(role):
            self._server.leave(fault.cause)

    def fail(self, error: Exception) -> None:
        """The other calls of the wire fail too."""
