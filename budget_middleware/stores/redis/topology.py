"""The servers behind a store URL, and which of them serves a ledger.

    ledger A ── Place A ─┐               ┌─ Server host1:6379 ── a wire an event loop
    ledger B ── Place B ─┼── Topology ───┤
    ledger C ── Place C ─┘  slot → server└─ Server host2:6379 ── a wire an event loop

Theory of operation. All keys of a ledger have one hash tag, so they are in one key slot, and one primary serves them.
Ledgers that share a `Topology` share the wires of its servers, and what is known of the slots.

A place has a wire as long as the wire of its server is usable. If it is not, whatever the reason is (a primary that
died or was demoted, a connection that broke), the topology asks anew who serves the slot before anybody connects: a few
seeds and known servers at once, for one of them may be dead, and one may not have heard of a failover yet. What most of
them say who answer within GRACE after the first holds. A node of a cluster that does not serve a slot names the one
that does (MOVED), and is believed.

redis-py could look for nodes, too: it asks one after the other, each for a whole time-out.

A slot that is being moved key by key (MIGRATING, IMPORTING) is served by nobody. A script must see the ledger whole: a
counter that has not arrived yet would count from zero. So every call also declares two keys that never exist
(`Place.keys_of`). A node looks for the declared keys of a call before it runs it, and where the slot is in migration
and some are missing it refuses the call as a whole: TRYAGAIN, or ASK. Neither is followed with ASKING. The call is
repeated within the time-out, and then it is an outage of the store, until the slot has arrived. Slots that move at once
(CLUSTER MIGRATESLOTS, Valkey 9) are never in that state.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence

from redis.crc import key_slot

from budget_middleware.event_loops import PerEventLoop
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.redis.dialing import dial
from budget_middleware.stores.redis.discovery import Question, SlotRange, redirected_to
from budget_middleware.stores.redis.replication import Replication
from budget_middleware.stores.redis.server import Server
from budget_middleware.stores.redis.store_url import Address, Kind, parse_store_url
from budget_middleware.stores.redis.wire import Reply, Silence
from budget_middleware.stores.redis.wrong_server import Fault, wrong_server

ASKED_AT_ONCE = 5
"""Of a hundred nodes so many are asked, drawn at random: it is unlikely that all of them are dead."""

GRACE = 0.1
"""Of the time-out: so long the others may take after the first answer."""

Map = tuple[SlotRange, ...]


class _Lookups:
    """What one event loop is looking up."""

    def __init__(self) -> None:
        self.silence = Silence()
        self.task: asyncio.Task[Map] | None = None


class Topology:
    """Connects when that is first needed. ValueError, in one line, for a URL that cannot be used.

    ``timeout_s`` bounds connecting and every reply. So many ``replicas`` acknowledge a write before it counts.
    """

    def __init__(self, url: str, *, timeout_s: float, replicas: int = 0) -> None:
        self.url = parse_store_url(url)
        self.timeout_s = timeout_s
        self.replication = Replication(replicas, timeout_s=timeout_s)
        self.map: Map = ()
        """What the last lookup has found."""
        self._time_limit = SharedTimeout(timeout_s)
        self._servers: dict[Address, Server] = {}
        self._only = Server(url, timeout_s=timeout_s) if self.url.kind is Kind.SERVER else None
        self.by_slot: dict[int, Server] = {0: self._only} if self._only is not None else {}
        """Who serves a slot, as far as that is known: of those that somebody has asked for."""
        # Those of which a node has just said it.
        self._redirected: set[int] = set()
        self._question = Question(self.url)
        self._lookups = PerEventLoop(_Lookups)

    def slot_of(self, key: str) -> int:
        """The slot of all keys with the hash tag of ``key``; all are one where there is no cluster."""
        return key_slot(key.encode()) if self.is_cluster else 0

    @property
    def is_cluster(self) -> bool:
        return self.url.kind is Kind.CLUSTER

    async def server(self, slot: int) -> Server:
        """Who serves a slot, asked anew. WrongServer where nobody does, StoreUnavailable where nobody says."""
        if self._only is not None:
            return self._only
        if slot in self._redirected:
            # Others may not have heard of it yet. If it is wrong, the next call finds out.
            self._redirected.discard(slot)
            return self.by_slot[slot]
        lookups = self._lookups.current()
        if lookups.task is None:
            # A task, for all who come meanwhile wait for the same answer, and any of them may be cancelled.
            lookups.task = asyncio.get_running_loop().create_task(self._look_up(lookups))
            lookups.task.add_done_callback(lambda done: _end(lookups, done))
        for range_ in await asyncio.shield(lookups.task):
            if range_.first <= slot <= range_.last:
                self.by_slot[slot] = self._server_at(range_.primary)
                return self.by_slot[slot]
        self.by_slot.pop(slot, None)
        raise wrong_server(
            "CLUSTER SLOTS",
            Fault(
                f"no node of the cluster serves slot {slot}, that of BUDGET_NAMESPACE", "see CLUSTER INFO and assign it"
            ),
        )

    @property
    def primaries(self) -> Sequence[Server]:
        """All that the last lookup has found."""
        if self._only is not None:
            return [self._only]
        return [self._server_at(address) for address in dict.fromkeys(range_.primary for range_ in self.map)]

    def redirect(self, slot: int, reply: Reply) -> bool:
        """Believe a node that says who serves a slot; whether it does."""
        asked = self.address_of(self.by_slot.get(slot)) or self.url.seeds[0]
        if (address := redirected_to(reply, asked=asked)) is None:
            return False
        self.by_slot[slot] = self._server_at(address)
        self._redirected.add(slot)
        return True

    def address_of(self, server: Server | None) -> Address | None:
        """None for a server that was not looked up."""
        return next((address for address, each in self._servers.items() if each is server), None)

    def forget(self, slot: int) -> None:
        """Who serves a slot is not sure any more, where that is looked up."""
        if self._only is None:
            self.by_slot.pop(slot, None)
            self._redirected.discard(slot)

    def is_silent(self, slot: int) -> bool:
        """Whether who serves it, or who was asked for that, has let this event loop wait for a whole time-out."""
        server = self.by_slot.get(slot)
        if server is not None and (self._only is not None or server.is_silent or server.ready_wire is not None):
            return server.is_silent
        return self._lookups.current().silence.is_on

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        lookups = self._lookups.pop()
        if lookups is not None and lookups.task is not None:
            lookups.task.cancel()
        for server in [*self._servers.values()] if self._only is None else [self._only]:
            await server.aclose()

    def _server_at(self, address: Address) -> Server:
        if address not in self._servers:
            self._servers[address] = Server(self.url.server_url(address), timeout_s=self.timeout_s)
        return self._servers[address]

    async def _look_up(self, lookups: _Lookups) -> Map:
        asked = [asyncio.ensure_future(self._ask(*each)) for each in self._whom_to_ask()]
        try:
            found, failures = await _first_answers(asked, grace_s=GRACE * self.timeout_s)
        finally:
            for each in asked:
                each.cancel()
        lookups.silence.is_on = not found and all(isinstance(each, StoreUnavailable) for each in failures)
        if not found:
            # What can be mended comes before a silence.
            raise min(failures, key=lambda failure: isinstance(failure, StoreUnavailable))
        self.map = Counter(found).most_common(1)[0][0]
        return self.map

    def _whom_to_ask(self) -> Iterable[tuple[Address, str]]:
        of_seeds = {address: self.url.seed_url(address) for address in self.url.seeds}
        known = {range_.primary for range_ in self.map} | {each for range_ in self.map for each in range_.replicas}
        # Who answers for a service is a Sentinel, and only those of the URL are.
        of_nodes = {each: self.url.server_url(each) for each in known} if self.is_cluster else {}
        either = [*of_seeds.items()], [*(of_nodes.items() - of_seeds.items())]
        for each in either:
            random.shuffle(each)
        seeds, nodes = either
        half = ASKED_AT_ONCE // 2
        return [*nodes[: max(half, ASKED_AT_ONCE - len(seeds))], *seeds][:ASKED_AT_ONCE]

    async def _ask(self, address: Address, url: str) -> Map:
        wire = await dial(url, time_limit=self._time_limit, must_be_primary=False)
        try:
            return self._question.read(await wire.call(*self._question.words), asked=address)
        finally:
            wire.break_off("it was asked")


async def _first_answers(
    asked: Sequence["asyncio.Future[Map]"], *, grace_s: float
) -> tuple[list[Map], list[Exception]]:
    """The answers until a little after the first one, and why others gave none."""
    found: list[Map] = []
    failures: list[Exception] = []
    pending = set(asked)
    while pending:
        done, pending = await asyncio.wait(
            pending, timeout=grace_s if found else None, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            break
        for each in done:
            try:
                found.append(each.result())
            except (StoreRefused, StoreUnavailable) as error:
                failures.append(error)
    return found, failures


def _end(lookups: _Lookups, task: "asyncio.Task[Map]") -> None:
    lookups.task = None
    # Looked at even if nobody waits any more: else asyncio reports an exception that nobody saw.
    if not task.cancelled():
        task.exception()
