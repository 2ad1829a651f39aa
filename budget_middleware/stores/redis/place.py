"""Where one ledger is: the server that serves its key slot now. See ``topology``."""

from dataclasses import dataclass
from typing import Any

from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.redis.discovery import is_redirection
from budget_middleware.stores.redis.listening import SubscribedWire
from budget_middleware.stores.redis.server import Server
from budget_middleware.stores.redis.store_url import Kind
from budget_middleware.stores.redis.topology import Topology
from budget_middleware.stores.redis.wire import Reply, Wire


@dataclass(frozen=True, slots=True)
class Location:
    """Where a ledger is, for operators. ``is_looked_up``: Sentinels or a cluster said so."""

    description: str
    is_looked_up: bool


class Place:
    """Where the keys with the hash tag of ``key`` are."""

    def __init__(self, topology: Topology, key: str) -> None:
        self.topology = topology
        self.slot = topology.slot_of(key)

    @property
    def ready_wire(self) -> Wire | None:
        """The wire of this event loop, if one may be used at once."""
        server = self.topology.by_slot.get(self.slot)
        return None if server is None else server.ready_wire

    @property
    def is_silent(self) -> bool:
        """Whether what is there has let this event loop wait for a whole time-out, and sent nothing since."""
        return self.topology.is_silent(self.slot)

    async def wire(self) -> Wire:
        """The wire of this event loop; StoreUnavailable where none can be had."""
        if (wire := self.ready_wire) is not None:
            return wire
        server = await self.topology.server(self.slot)
        try:
            return await server.wire()
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{self._prefix_of(server)}{error}") from error

    def location(self) -> Location:
        """As far as it is known now."""
        kind, primaries = self.topology.url.kind, len(self.topology.primaries)
        server = self.topology.by_slot.get(self.slot)
        address = self.topology.address_of(server) if server is not None else None
        where = f"the primary is {address}" if address is not None else "one server"
        if kind is Kind.CLUSTER:
            where = f"cluster of {primaries} primaries, the ledger is in slot {self.slot} at {address}"
        return Location(where, is_looked_up=kind is not Kind.SERVER)

    def keys_of(self, meta: str) -> tuple[str, ...]:
        """How many keys a call declares, and these. In a cluster two that never exist are among them."""
        if not self.topology.is_cluster:
            return "1", meta
        return "3", meta, f"{meta}!", f"{meta}!!"

    # Any, as in the server.
    def client(self) -> Any:
        """The client of the server that is known; StoreUnavailable while none is."""
        return self._known_server().client()

    async def subscribed_wire(self) -> SubscribedWire:
        """A wire to listen with; in a cluster, what is published at one node is heard at all of them."""
        await self.wire()
        return await self._known_server().subscribed_wire()

    def is_elsewhere(self, reply: Reply) -> bool:
        """Whether a node has refused a whole call because it does not serve the ledger, or not alone."""
        return self.topology.is_cluster and is_redirection(reply)

    def redirect(self, reply: Reply) -> bool:
        """Whether a refusal names another node, which is asked from now on."""
        return self.topology.redirect(self.slot, reply)

    def hang_up(self, why: str) -> None:
        if (server := self.topology.by_slot.get(self.slot)) is not None:
            server.hang_up(why)

    def leave(self, why: str) -> None:
        """Ask anew who serves the ledger before the next call."""
        if (server := self.topology.by_slot.get(self.slot)) is not None:
            server.leave(why)
            self.topology.forget(self.slot)

    def ask_role(self, wire: Wire) -> None:
        if (server := self.topology.by_slot.get(self.slot)) is not None:
            server.ask_role(wire)

    async def aclose(self) -> None:
        await self.topology.aclose()

    def _known_server(self) -> Server:
        server = self.topology.by_slot.get(self.slot)
        if server is None:
            raise StoreUnavailable("nobody has asked yet which server has the ledger")
        return server

    def _prefix_of(self, server: Server) -> str:
        """Before an error of a server that nobody has named in a setting."""
        address = self.topology.address_of(server)
        return "" if address is None else f"{address}, where the ledger is: "
