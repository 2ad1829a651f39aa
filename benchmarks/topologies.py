"""What a cluster and `BUDGET_REPLICAS` cost, in pairs of reserve and finalize: `python -m benchmarks topologies`.

Each kind in turn, round by round, over the same number of accounts: one server; a cluster node that has all slots; a
server with a replica, without and with BUDGET_REPLICAS=1. Ratios are formed within a round. Commands and bytes are
counted by the server, which no neighbour changes.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import NamedTuple

import redis

from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.verbs import do_all, reserve_and_finalize, targets
from benchmarks.workers import Process, redis_server, redis_url
from budget_middleware.stores.redis import RedisStore

ONE = "one server"
CLUSTER = "a cluster, one shard"
FOLLOWED = "one server with a replica"
WAITED = "the same, BUDGET_REPLICAS=1"
_BASE = {ONE: ONE, CLUSTER: ONE, FOLLOWED: ONE, WAITED: FOLLOWED}
_ACCOUNTS = 3
_IN_FLIGHT = (1, 32)
_WARM_UP = 200
_PATIENCE_S = 30


@dataclass(frozen=True, slots=True)
class PairTime:
    """One pair's worth: what its caller waited for all of them, the server's CPU time, and what the server counted."""

    says: str
    in_flight: int
    elapsed_us: float
    cpu_us: float
    commands: float
    bytes_in: float
    bytes_out: float


class Way(NamedTuple):
    """A store, and the server that does its work."""

    server: Process
    store: RedisStore


class _Counted(NamedTuple):
    cpu_us: float
    commands: int
    bytes_in: int
    bytes_out: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=500, help="of each kind in a round (default 500)")
    parser.add_argument("--rounds", type=int, default=16, help="of all kinds in turn (default 16)")


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    found = asyncio.run(_measure(options.requests, rounds=options.rounds))
    print(f"\n{tell(found)}")
    keep(
        "topologies", [asdict(each) for each in found], options={"requests": options.requests, "rounds": options.rounds}
    )


def tell(figures: Sequence[PairTime]) -> str:
    """Medians of all rounds; ratios are those of time and CPU time to the kind that it is to be compared with."""
    head = [
        "for one pair",
        "in flight",
        "us",
        "server's CPU us",
        "of",
        "time",
        "CPU",
        "commands",
        "bytes in",
        "bytes out",
    ]
    rows: list[list[object]] = []
    for in_flight in _IN_FLIGHT:
        for says, base in _BASE.items():
            own, others = _of(figures, says, in_flight), _of(figures, base, in_flight)
            rows.append(
                [
                    says,
                    in_flight,
                    *(median(getattr(each, name) for each in own) for name in ("elapsed_us", "cpu_us")),
                    base,
                    *(f"{_ratio(own, others, name):.2f}" for name in ("elapsed_us", "cpu_us")),
                    *(median(getattr(each, name) for each in own) for name in ("commands", "bytes_in", "bytes_out")),
                ]
            )
    return table(head, rows)


def _of(figures: Sequence[PairTime], says: str, in_flight: int) -> list[PairTime]:
    return [each for each in figures if (each.says, each.in_flight) == (says, in_flight)]


def _ratio(own: Sequence[PairTime], others: Sequence[PairTime], name: str) -> float:
    return median(float(getattr(one, name) / getattr(other, name)) for one, other in zip(own, others, strict=True))


async def _measure(requests: int, *, rounds: int) -> list[PairTime]:
    found: list[PairTime] = []
    async with AsyncExitStack() as stack:
        ways = _ways(stack)
        for way in ways.values():
            await _pairs(way, _WARM_UP, in_flight=32)
        for number in range(rounds):
            # Whoever comes first finds another machine than whoever comes last.
            turn = number % len(ways)
            order = [*ways.items()][turn:] + [*ways.items()][:turn]
            for in_flight in _IN_FLIGHT:
                for says, way in order:
                    progress(f"topologies, round {number + 1}/{rounds}: {says}, {in_flight} in flight")
                    found.append(await _timed(way, requests, says=says, in_flight=in_flight))
        progress("")
        for way in ways.values():
            await way.store.aclose()
    return found


async def _pairs(way: Way, count: int, *, in_flight: int) -> None:
    await do_all((reserve_and_finalize(way.store, targets(_ACCOUNTS)) for _ in range(count)), in_flight=in_flight)


async def _timed(way: Way, requests: int, *, says: str, in_flight: int) -> PairTime:
    before, began_s = _counted(way.server), time.perf_counter()
    await _pairs(way, requests, in_flight=in_flight)
    elapsed_s = time.perf_counter() - began_s
    after = _counted(way.server)
    counted = ((last - first) / requests for first, last in zip(before, after, strict=True))
    return PairTime(says, in_flight, 1e6 * elapsed_s / requests, *counted)


def _counted(server: Process) -> _Counted:
    """What clients have sent and got, those commands that scripts give not among them."""
    with redis.Redis(port=server.port) as client:
        commands = client.info("commandstats")
        stats = client.info("stats")
        # In microseconds; the kernel's own figures come in hundredths of a second.
        cpu = client.info("cpu")
    asked = sum(
        figures["calls"]
        for name, figures in commands.items()
        if name in {"cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall", "cmdstat_wait", "cmdstat_role"}
    )
    cpu_us = 1e6 * (cpu["used_cpu_sys"] + cpu["used_cpu_user"])
    return _Counted(cpu_us, asked, stats["total_net_input_bytes"], stats["total_net_output_bytes"])


def _ways(stack: AsyncExitStack) -> dict[str, Way]:
    one = stack.enter_context(redis_server())
    node = stack.enter_context(_cluster_node())
    followed = stack.enter_context(_followed_server())
    return {
        ONE: Way(one, _store(redis_url(one))),
        CLUSTER: Way(node, _store(f"redis+cluster://127.0.0.1:{node.port}")),
        FOLLOWED: Way(followed, _store(redis_url(followed))),
        WAITED: Way(followed, _store(redis_url(followed), namespace="waited", replicas=1)),
    }


def _store(url: str, *, namespace: str = "topologies", replicas: int = 0) -> RedisStore:
    return RedisStore(url, namespace=namespace, timeout_s=30, replicas=replicas)


@contextmanager
def _cluster_node() -> Iterator[Process]:
    with redis_server(**{"cluster-enabled": "yes", "cluster-config-file": "nodes.conf"}) as node:
        with redis.Redis(port=node.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            _wait_until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        yield node


@contextmanager
def _followed_server() -> Iterator[Process]:
    with (
        redis_server(**{"repl-diskless-sync-delay": "0"}) as primary,
        redis_server(replicaof=f"127.0.0.1 {primary.port}"),
        redis.Redis(port=primary.port) as client,
    ):
        _wait_until(lambda: client.info("replication")["connected_slaves"] == 1)
        _wait_until(lambda: client.wait(1, 1000) == 1)
        yield primary


def _wait_until(condition: Callable[[], object]) -> None:
    until_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > until_s:
            raise SystemExit("the servers do not come together: the figures would mean nothing")
        time.sleep(0.05)
