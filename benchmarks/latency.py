"""What a guard adds to a request that is alone, in calls of the store: `python -m benchmarks latency`.

Requests to all apps take turns, one at a time, so that whatever the machine does meanwhile hits them alike.
"""

import argparse
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median

import redis

from benchmarks.answers import CHAT, STREAM_WITH_USAGE, Ask
from benchmarks.client import encode
from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.workers import Process, redis_server, redis_url, worker

_APPS = {
    "bare": "benchmarks.apps:bare",
    "one": "benchmarks.apps:one_evalsha",
    "two": "benchmarks.apps:two_evalsha",
    "guarded": "benchmarks.guarded:redis_3",
}
_SAYS = {
    "bare": "the app alone",
    "one": "one redis-py EVALSHA",
    "two": "two redis-py EVALSHA",
    "guarded": "guarded, Redis, 3 accounts",
}
_WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians in microseconds. ``asks`` are the calls of the store for one request, heartbeats not counted."""

    app: str
    whole_us: float
    first_byte_us: float
    asks: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=1000, help="of each kind to each app (default 1000)")


def run(options: argparse.Namespace) -> None:
    """Measure, print what is added beside what bare EVALSHA add, keep the figures."""
    print(told(machine()))
    found = _measure(options.requests)
    print(f"\n{tell(list(found.values()))}")
    keep("latency", [asdict(latency) for latency in found.values()], options={"requests": options.requests})


def tell(figures: Sequence[Latency]) -> str:
    """The medians, and what the guard adds in units of a bare EVALSHA."""
    head = ["p50 at c = 1", "whole answer, us", "stream's first byte, us", "calls of the store"]
    rows = [[_SAYS[each.app], each.whole_us, each.first_byte_us, each.asks] for each in figures]
    whole, first = added_ratios({each.app: each for each in figures})
    added = (
        f"Added to a whole answer: {whole:.2f} times what two EVALSHA add; to a stream's first byte: {first:.2f} times"
        " what one adds."
    )
    return f"{table(head, rows)}\n\n{added}"


def added_ratios(found: dict[str, Latency]) -> tuple[float, float]:
    """What the guard adds to a whole answer over what two EVALSHA add, and to a first byte over what one adds."""
    bare, guarded = found["bare"], found["guarded"]
    return (
        (guarded.whole_us - bare.whole_us) / (found["two"].whole_us - bare.whole_us),
        (guarded.first_byte_us - bare.first_byte_us) / (found["one"].first_byte_us - bare.first_byte_us),
    )


def _measure(requests: int) -> dict[str, Latency]:
    with ExitStack() as stack:
        store = stack.enter_context(redis_server())
        environment = {"BENCH_REDIS_URL": redis_url(store)}
        workers = {name: stack.enter_context(worker(app, environment=environment)) for name, app in _APPS.items()}
        kept = {name: stack.enter_context(_connected(process)) for name, process in workers.items()}
        _take_turns(kept, CHAT, _WARM_UP)
        calls = {name: _calls_of_one(kept[name], store) for name in kept}
        whole = _take_turns(kept, CHAT, requests)
        _take_turns(kept, STREAM_WITH_USAGE, _WARM_UP)
        first = _take_turns(kept, STREAM_WITH_USAGE, requests)
    return {name: Latency(name, median(whole[name]), median(first[name]), calls[name]) for name in kept}


@contextmanager
def _connected(process: Process) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", process.port)) as kept:
        kept.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield kept


def _take_turns(kept: dict[str, socket.socket], ask: Ask, requests: int) -> dict[str, list[float]]:
    """Microseconds until the body's first byte (which of a whole answer is all), by app."""
    request = encode(ask)
    times_us: dict[str, list[float]] = {name: [] for name in kept}
    for number in range(requests):
        if number % 100 == 0:
            progress(f"latency {number}/{requests}")
        for name, connection in kept.items():
            times_us[name].append(_first_byte_us(connection, request))
    progress("")
    return times_us


def _first_byte_us(connection: socket.socket, request: bytes) -> float:
    started = time.perf_counter_ns()
    connection.sendall(request)
    seen = connection.recv(65536)
    while not seen.partition(b"\r\n\r\n")[2]:
        seen += connection.recv(65536)
    took_us = (time.perf_counter_ns() - started) / 1000
    if not seen.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"an answer was no 200: {seen[:200]!r}")
    is_chunked = b"transfer-encoding: chunked" in seen.lower()
    while is_chunked and not seen.endswith(b"0\r\n\r\n"):
        seen = seen[-16:] + connection.recv(262144)
    return took_us


def _calls_of_one(connection: socket.socket, store: Process, *, requests: int = 100) -> float:
    request = encode(CHAT)
    with redis.Redis(port=store.port) as client:
        client.config_resetstat()
        for _ in range(requests):
            _first_byte_us(connection, request)
        stats = client.info("commandstats")
    calls: int = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval", "fcall"))
    return calls / requests
