"""Reads a store URL: one server, the Sentinels of one, or nodes of a cluster.

    redis://user:password@host:6379/0                       one server; also rediss:// (TLS) and unix://
    redis+sentinel://user:password@host:26379,host2/main/0  what these Sentinels call `main`, database 0
    redis+cluster://user:password@host:6379,host2:6379      the cluster of these nodes, or of one configuration endpoint

User, password and options are those of the servers. Sentinels have their own, as options: ``sentinel_username`` and
``sentinel_password``. `rediss+sentinel://` and `rediss+cluster://` use TLS for every connection.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from redis.asyncio.connection import parse_url

from budget_middleware.stores.redis.dialing import check_url

_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_OF_THE_SERVERS_ALONE = frozenset({"db", "username", "password"})


class Kind(StrEnum):
    """What a URL names."""

    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_PORTS = {Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """``seeds``: whom to ask where the servers are. ``service``: the name that Sentinels know theirs by."""

    kind: Kind
    seeds: tuple[Address, ...] = ()
    service: str = ""
    server: tuple[str, str] = ("", "")
    seed: tuple[str, str] = ("", "")
    """What stands before and behind the address in the URL of a server, and in that of a seed."""

    def server_url(self, address: Address) -> str:
        """The URL of one server, as redis-py reads it."""
        return str(address).join(self.server)

    def seed_url(self, address: Address) -> str:
        """The URL of one of whom to ask."""
        return str(address).join(self.seed)


def parse_store_url(url: str) -> StoreUrl:
    """ValueError, in one line and without a password, for a URL that no connection can be made with."""
    match = re.match(r"(rediss?)\+([a-z]+)://", url)
    if match is not None and match[2] not in _PORTS:
        raise ValueError("accepted are redis+sentinel:// and redis+cluster://")
    if match is None:
        check_url(url)
        return StoreUrl(Kind.SERVER)
    scheme, kind = match[1], Kind(match[2])
    place, _, query = url[match.end() :].partition("?")
    user, at, hosts = place.rpartition("@")
    hosts, _, path = hosts.partition("/")
    seeds = tuple(_address(host, _PORTS[kind]) for host in hosts.split(","))
    service, database = _path(kind, path)
    options = parse_qsl(query, keep_blank_values=True)
    of_servers = [option for option in options if kind is Kind.CLUSTER or option[0] not in _SENTINEL_OPTIONS]
    server = f"{scheme}://{user}{at}", f"/{database}{_query(of_servers)}"
    parsed = StoreUrl(kind, seeds, service, server, server if kind is Kind.CLUSTER else _of_sentinels(scheme, options))
    for seed in seeds:
        check_url(parsed.seed_url(seed))
        check_url(parsed.server_url(seed))
    if kind is Kind.CLUSTER and parse_url(parsed.server_url(seeds[0])).get("db"):
        raise ValueError("a cluster has no database but 0")
    return parsed


def _address(text: str, default_port: int) -> Address:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?", text)
    if match is None or not 0 < (port := int(match[2] or default_port)) < 65536:
        raise ValueError("accepted are hosts with ports, as in HOST:PORT,HOST:PORT")
    return Address(match[1].strip("[]"), port)


def _path(kind: Kind, path: str) -> tuple[str, str]:
    """The service and the database."""
    if kind is Kind.CLUSTER:
        if path.strip("/") not in {"", "0"}:
            raise ValueError("a cluster has no database but 0: accepted is redis+cluster://HOST:PORT,HOST:PORT")
        return "", "0"
    match = re.fullmatch(r"([^/]+)(?:/([0-9]*))?", path)
    if match is None:
        raise ValueError("accepted is redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB, DB a number")
    return match[1], match[2] or "0"


def _of_sentinels(scheme: str, options: list[tuple[str, str]]) -> tuple[str, str]:
    given = dict(options)
    username, password = (quote(given.get(name, ""), safe="") for name in _SENTINEL_OPTIONS)
    if username and not password:
        raise ValueError("sentinel_username is accepted with sentinel_password")
    user = f"{username}:{password}@" if password else ""
    others = [(name, value) for name, value in options if name not in {*_SENTINEL_OPTIONS, *_OF_THE_SERVERS_ALONE}]
    return f"{scheme}://{user}", _query(others)


def _query(options: list[tuple[str, str]]) -> str:
    return f"?{urlencode(options)}" if options else ""
