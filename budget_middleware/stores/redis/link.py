"""Sends the verbs of a store to its server in batches, and interprets the replies.

Theory of operation. The verbs that requests send in one turn of the event loop go in one script call, a `Batch`, which
gives each its part of the reply. What any other reply means, only this module decides:

    verb ──> _ask ──> Batch ──> _send ──────────────────> Wire
                        │         └ _deliver (a task): no wire yet, or the server lacks the script
    reply <────────── Batch <──────────────────────────── Wire
                        └ _take_other: what is no reply to this call
                            ├ no such script or function: nothing was applied; delivered again with the script's text
                            ├ the ledger is at another node: nothing was applied; delivered again, there
                            ├ an error: StoreRefused for all; the link leaves a server that cannot do the work
                            └ a reply to another call: the connection cannot be trusted, and is closed

A single verb on an idle wire is sent at once. Otherwise verbs wait for the end of this turn of the event loop, or for
TOGETHER_MAX of them: one call with sixteen verbs costs the server far less than sixteen calls.

A server forgets scripts (SCRIPT FLUSH, a failover). So a batch may be refused as unknown: nothing was applied, and the
same batch is delivered once more, with the script's text. Any other silence leaves its fate open: the batch fails with
StoreUnavailable, and the ledger repeats its verbs by their ids.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import hiredis

from budget_middleware.event_loops import PerEventLoop
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.redis.batch import Batch, VerbReply
from budget_middleware.stores.redis.client_errors import ELSEWHERE, outages_named
from budget_middleware.stores.redis.functions import Libraries, libraries, offer, refuses_function
from budget_middleware.stores.redis.keys import META, key_prefix
from budget_middleware.stores.redis.place import Location, Place
from budget_middleware.stores.redis.script_calls import ScriptCalls, is_unknown_script
from budget_middleware.stores.redis.scripts import VERBS_OF_REQUESTS, Script, lua_text, script_of
from budget_middleware.stores.redis.topology import Topology
from budget_middleware.stores.redis.wire import Reply, Wire
from budget_middleware.stores.redis.wrong_server import fault_in, wrong_server
from budget_middleware.stores.retention import Retention

TOGETHER_MAX = 16
"""So many verbs go without waiting for more: the server works on them while the rest of the tick goes on, and no other
client waits for longer than these take."""


class _Gathered:
    """What one event loop is about to send, and the calls whose server is still being connected to.

    ``wire`` is where the last batch went: the next one goes there too. A node that serves the ledger no more says so.
    """

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.wire: Wire | None = None
        # Then the next one will most likely be alone too, and gains nothing by waiting for others.
        self.was_alone = True
        self.under_way: set[asyncio.Task[None]] = set()


class RedisLink:
    """The keys of the ledger ``namespace`` in a Redis or Valkey server (6.2 or later) at ``url``.

    ``timeout_s`` bounds connecting and every reply. So many ``replicas`` acknowledge a write before it counts. Ledgers
    that share a topology share its connections.
    """

    # A verb waits for a future, and for nothing else.
    ends_when_cancelled = True

    # The text that defines `store_time_ms()`; a test's store has another, which its clock moves.
    _clock_script = lua_text("_clock")

    def __init__(
        self,
        url: str | Topology,
        *,
        namespace: str = "budget",
        timeout_s: float = 0.5,
        retention: Retention | None = None,
        replicas: int = 0,
    ) -> None:
        topology = url if isinstance(url, Topology) else Topology(url, timeout_s=timeout_s, replicas=replicas)
        self._timeout_s = timeout_s
        self._prefix = key_prefix(namespace)
        self._meta = f"{self._prefix}{META}"
        self._place = Place(topology, self._meta)
        self._send_on = topology.replication.send
        self._script_calls = ScriptCalls(self._place, on_text=self._offer_function)
        kept = retention or Retention()
        self._counters_ms = kept.counters_ms
        self._refusals_max = kept.refusals_max
        self._remember_expired_ms = str(kept.remember_expired_ms)
        self._limit_changes_max = str(kept.limit_changes_max)
        kept_words = (
            kept.remember_ms,
            kept.remember_released_ms,
            kept.remember_expired_ms,
            kept.counters_ms,
            kept.journal_max,
            kept.voided_max,
        )
        self._constants = (*self._place.keys_of(self._meta), " ".join(map(str, kept_words)))
        self._request_script = script_of(VERBS_OF_REQUESTS[0], self._clock_script)
        self._gathered = PerEventLoop(_Gathered)

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        await self._place.aclose()

    def is_silent(self) -> bool:
        return self._place.is_silent

    def location(self) -> Location:
        """Where the ledger is, as far as that is known."""
        return self._place.location()

    async def libraries(self) -> Libraries:
        """Which libraries of functions of ours the server has."""
        async with self._reading() as client:
            return await libraries(client, self._request_script)

    def _client(self) -> Any:
        return self._place.client()

    def _clients_of_primaries(self) -> Sequence[Any]:
        """Of a cluster all are found in passing whenever the ledger's own is looked up."""
        return [server.client() for server in self._place.topology.primaries]

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Any]:
        """The client of the server that has the ledger, for a read."""
        # Who follows the journal for days must follow a failover too, and a client would not.
        self._place.ask_role(await self._place.wire())
        with outages_named():
            try:
                yield self._client()
            except ELSEWHERE as error:
                self._place.leave(str(error))
                raise

    def _ask(self, *verb: str) -> Awaitable[VerbReply]:
        """Send one of VERBS_OF_REQUESTS (name and settings, trace, arguments) with the others of this moment."""
        loop = asyncio.get_running_loop()
        gathered, reply = self._gathered.of(loop), loop.create_future()
        batch = gathered.batch or Batch(self._refusal_of, self._take_other)
        batch.add(verb, reply)
        if batch is gathered.batch:
            if len(batch.waiting) == TOGETHER_MAX:
                self._send(gathered)
            return reply
        gathered.batch = batch
        if gathered.was_alone and gathered.wire is not None and gathered.wire.is_idle:
            self._send(gathered)
        else:
            loop.call_soon(self._send, gathered)
        return reply

    def _send(self, gathered: _Gathered) -> None:
        batch, gathered.batch = gathered.batch, None
        if batch is None:
            return
        gathered.was_alone = len(batch.waiting) == 1
        wire = gathered.wire
        if wire is None or not wire.is_usable:
            wire = gathered.wire = self._place.ready_wire
        if wire is None or (command := wire.commands.get(self._request_script.digest)) is None:
            self._deliver_in_task(batch)
        else:
            self._send_on(wire, batch, *command, *self._words(batch))

    def _take_other(self, batch: Batch, reply: Reply) -> None:
        if batch.is_repeatable and (is_unknown_script(reply) or refuses_function(reply)):
            batch.is_repeatable = False
            self._forget_function()
            self._deliver_in_task(batch)
        elif self._place.is_elsewhere(reply):
            self._place.redirect(reply)
            self._gathered.current().wire = None
            self._deliver_in_task(batch)
        elif isinstance(reply, hiredis.ReplyError):
            batch.fail(self._refusal_of(str(reply)))
        elif isinstance(reply, list | str):
            stray = "a reply came that belongs to another call"
            self._place.hang_up(stray)
            batch.fail(StoreUnavailable(stray))
        else:
            batch.fail(StoreUnavailable(str(reply)))

    def _deliver_in_task(self, batch: Batch) -> None:
        """It may take a connection first, and the text of the script."""
        task = self._start(self._deliver(batch))
        task.add_done_callback(partial(_fail_if_cancelled, batch))

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        under_way = self._gathered.current().under_way
        task = asyncio.get_running_loop().create_task(work)
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return task

    def _forget_function(self) -> None:
        """Of several batches that were refused the first sends the script whole, and the function is offered again."""
        wire, script = self._place.ready_wire, self._request_script
        if wire is not None and wire.commands.get(script.digest) == ("FCALL", script.function):
            del wire.commands[script.digest]

    def _refusal_of(self, text: str) -> StoreRefused:
        """The error that an error reply stands for; a server that cannot do the work is left, if another may."""
        fault = fault_in(text)
        if fault is None:
            return StoreRefused(text)
        if fault.is_elsewhere:
            self._place.leave(fault.cause)
        return wrong_server(text, fault)

    async def _deliver(self, batch: Batch) -> None:
        try:
            batch.take_reply(await self._evaluate(self._request_script, self._words(batch)))
        except (StoreUnavailable, StoreRefused) as error:
            batch.fail(error)

    async def _call(self, *verb: str) -> VerbReply:
        """Send one other verb (its name, trace and arguments). Raises StoreUnavailable or StoreRefused."""
        reply: asyncio.Future[VerbReply] = asyncio.get_running_loop().create_future()
        batch = Batch(self._refusal_of, self._take_other)
        batch.add(verb, reply)
        batch.take_reply(await self._evaluate(script_of(verb[0].split()[0], self._clock_script), self._words(batch)))
        return reply.result()

    def _words(self, batch: Batch) -> tuple[str, ...]:
        return (*self._constants, batch.token, str(len(batch.waiting)), *batch.words)

    async def _evaluate(self, script: Script, words: tuple[str, ...]) -> Reply:
        """The reply to a script; an error of the server is a reply."""
        return await self._script_calls.reply_to(script, words)

    def _offer_function(self, wire: Wire, script: Script) -> None:
        if script is self._request_script:
            no_verbs = Batch(self._refusal_of, self._take_other)
            self._start(offer(wire, script, no_verbs=self._words(no_verbs), answer=[no_verbs.token]))


def _fail_if_cancelled(batch: Batch, delivered: "asyncio.Task[None]") -> None:
    # By an event loop that closes, perhaps before the first step: the caller may try once more.
    if delivered.cancelled():
        batch.fail(StoreUnavailable("the event loop closes"))
