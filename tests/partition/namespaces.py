"""Hosts that are network namespaces, and the wires between them."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """``within`` before a command runs it there. Files, and so unix sockets, are those of everywhere."""

    name: str

    @property
    def within(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)


class Wire:
    """Between a gateway's host and the store's; ``store_address`` is what the gateway knows the store by."""

    def __init__(self, gateway: Host, store: Host, *, number: int) -> None:
        self._store = store
        self._plug = f"s{number}"
        self._gateway_address = f"10.77.{number}.1"
        self.store_address = f"10.77.{number}.2"
        plugs = ((gateway, f"g{number}", self._gateway_address), (store, self._plug, self.store_address))
        _ip(f"link add g{number} netns {gateway.name} type veth peer name {self._plug} netns {store.name}")
        for host, plug, address in plugs:
            _ip(f"-n {host.name} address add {address}/30 dev {plug}")
            _ip(f"-n {host.name} link set {plug} up")

    def cut(self) -> None:
        """Nothing passes, and nobody says so."""
        _ip(f"-n {self._store.name} link set {self._plug} down")

    def lose_replies(self) -> None:
        """What the gateway sends arrives; what the store answers does not."""
        _ip(f"-n {self._store.name} route add blackhole {self._gateway_address}/32")

    def mend(self) -> None:
        _ip(f"-n {self._store.name} link set {self._plug} up")
        _ip(f"-n {self._store.name} route flush type blackhole")


@contextmanager
def host(name: str) -> Iterator[Host]:
    """It ends with what runs there."""
    with ExitStack() as stack:
        _ip(f"netns add {name}")
        stack.callback(_ip, f"netns delete {name}")
        _ip(f"-n {name} link set lo up")
        yield Host(name)


def _ip(arguments: str) -> None:
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {arguments}: {done.stderr.strip()} (needs root)"
