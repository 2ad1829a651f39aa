"""Waits until replicas have what a call wrote: BUDGET_REPLICAS.

Theory of operation. WAIT follows each call that writes on the same connection, so the call's reply is at hand when that
to WAIT arrives. If too few replicas have it by then, the verbs of the call were applied, and may be lost by a failover.
That is what the setting excludes, so it counts as an answer that never came: StoreUnavailable. The ledger repeats such
verbs by their ids, which applies nothing twice and waits again, and while replicas are away the policies for a store
that is away hold. Verbs that may not be repeated (`learn`, `shadow`) do not wait.
"""

import asyncio
from collections.abc import Callable

import hiredis

from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.redis.wire import Reply, ReplyFuture, Waiter, Wire

WAITED = 0.5
"""Of the time-out: so long replicas may take."""

_IS_A_REPLICA = "cannot be used with replica"


class Replication:
    """The replicas that acknowledge a write before it counts; 0: none.

    ``send`` sends a call that writes; its waiter gets the reply once it has been replicated, StoreUnavailable else.
    """

    def __init__(self, replicas: int, *, timeout_s: float) -> None:
        self.replicas = replicas
        self.wait_ms = max(1, round(WAITED * timeout_s * 1000))
        self.send: Callable[..., None] = self._send_and_wait if replicas else Wire.send

    def _send_and_wait(self, wire: Wire, waiter: Waiter, *words: str) -> None:
        reply = _FirstReply(waiter)
        wire.send(reply, *words)
        wire.send(_Acknowledgement(reply, self), "WAIT", str(self.replicas), str(self.wait_ms))

    def call(self, wire: Wire, *words: str) -> "asyncio.Future[Reply]":
        """The same as a future; an error of the server is a reply."""
        reply = ReplyFuture()
        self.send(wire, reply, *words)
        return reply


class _FirstReply:
    """Keeps the reply to a call until replicas have what it wrote."""

    __slots__ = ("reply", "waiter")

    def __init__(self, waiter: Waiter) -> None:
        self.waiter = waiter
        self.reply: Reply = None

    def done(self) -> bool:
        return self.waiter.done()

    def take_reply(self, reply: Reply) -> None:
        self.reply = reply

    def fail(self, error: Exception) -> None:
        _fail(self.waiter, error)


class _Acknowledgement:
    """Waits for the reply to WAIT: how many replicas have it."""

    __slots__ = ("_first", "_replication")

    def __init__(self, first: _FirstReply, replication: Replication) -> None:
        self._first = first
        self._replication = replication

    def done(self) -> bool:
        return self._first.waiter.done()

    def take_reply(self, count: Reply) -> None:
        reply, wanted = self._first.reply, self._replication.replicas
        is_applied = not isinstance(reply, hiredis.ReplyError) and _IS_A_REPLICA not in str(count)
        if is_applied and isinstance(count, int) and count < wanted:
            late = f"{count} of {wanted} replicas have it after {self._replication.wait_ms} ms"
            self.fail(StoreUnavailable(f"{late} (BUDGET_REPLICAS={wanted})"))
        elif is_applied and not isinstance(count, int):
            self.fail(StoreUnavailable(f"BUDGET_REPLICAS={wanted}, and WAIT is refused: {count}"))
        else:
            self._first.waiter.take_reply(reply)

    def fail(self, error: Exception) -> None:
        _fail(self._first.waiter, error)


def _fail(waiter: Waiter, error: Exception) -> None:
    if not waiter.done():
        waiter.fail(error)
