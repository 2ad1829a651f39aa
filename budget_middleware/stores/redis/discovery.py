"""What to ask Sentinels and nodes of a cluster, and what their replies mean: which server serves which key slots."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import hiredis

from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.redis.store_url import Address, Kind, StoreUrl
from budget_middleware.stores.redis.wire import Reply
from budget_middleware.stores.redis.wrong_server import Fault, fault_in, wrong_server

SLOTS = 16384

_NO_SENTINEL = Fault("not a Sentinel", "name Sentinels (their port is 26379 as a rule), or use redis://HOST:PORT/DB")
_NO_SUCH_SERVICE = Fault(
    "the Sentinels do not know the service of BUDGET_STORE_URL",
    "name one that SENTINEL MASTERS shows: redis+sentinel://HOST:PORT/SERVICE",
)
_NO_CLUSTER = Fault("a server that is not in cluster mode", "use redis://HOST:PORT/DB")


class SlotRange(NamedTuple):
    """Key slots that one primary serves; to a Sentinel, all of them."""

    first: int
    last: int
    primary: Address
    replicas: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """Asks a Sentinel or a node; `read` understands the reply."""

    url: StoreUrl

    @property
    def words(self) -> tuple[str, ...]:
        if self.url.kind is Kind.SENTINEL:
            return "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.url.service
        return "CLUSTER", "SLOTS"

    def read(self, reply: Reply, *, asked: Address) -> tuple[SlotRange, ...]:
        """StoreRefused for what is no answer; ``asked`` is who gave it."""
        if isinstance(reply, hiredis.ReplyError):
            raise self._refusal(str(reply))
        if self.url.kind is Kind.CLUSTER:
            return tuple(sorted(_range_of(each, asked) for each in _list(reply)))
        if reply is None:
            raise wrong_server("SENTINEL GET-MASTER-ADDR-BY-NAME", _NO_SUCH_SERVICE)
        return (SlotRange(0, SLOTS - 1, _address_of(reply, asked)),)

    def _refusal(self, text: str) -> StoreRefused:
        if "unknown" in text.lower() or "cluster support disabled" in text:
            return wrong_server(text, _NO_SENTINEL if self.url.kind is Kind.SENTINEL else _NO_CLUSTER)
        fault = fault_in(text)
        return wrong_server(text, fault) if fault else StoreRefused(text)


def _range_of(range_: Reply, asked: Address) -> SlotRange:
    match range_:
        case [int(first), int(last), primary, *replicas]:
            return SlotRange(
                first, last, _address_of(primary, asked), tuple(_address_of(each, asked) for each in replicas)
            )
    raise StoreRefused("CLUSTER SLOTS is answered by something else")


def _address_of(address: Reply, asked: Address) -> Address:
    match address:
        # A node that has no name for clients, only an address.
        case ["?", port, _, ["ip", str(host), *_]]:
            return Address(host, _port(port))
        # None of them has: they are all where the one is that was asked, a configuration endpoint perhaps.
        case [None | "" | "?", port, *_]:
            return Address(asked.host, _port(port))
        case [str(host), port, *_]:
            return Address(host, _port(port))
    raise StoreRefused(f"{str(address)[:80]!r} is no address")


def _port(port: Reply) -> int:
    text = str(port)
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise StoreRefused(f"{text[:80]!r} is no port")


def _list(reply: Reply) -> Sequence[Reply]:
    if isinstance(reply, list):
        return reply
    raise StoreRefused("CLUSTER SLOTS is answered by something else")


def redirected_to(reply: Reply, *, asked: Address) -> Address | None:
    """Where a MOVED reply points to: ``MOVED 3999 host:6381``, the host perhaps empty."""
    match = re.fullmatch(r"MOVED \d+ (\S*):(\d+)", str(reply))
    if match is None or match[1] == "?":
        return None
    return Address(match[1].strip("[]") or asked.host, int(match[2]))


def is_redirection(reply: Reply) -> bool:
    """Whether a node has refused a whole call because of its slot, and applied nothing of it."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith(("MOVED ", "ASK ", "TRYAGAIN "))
