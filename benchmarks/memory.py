"""Resident memory of a worker over a million requests, each with another key: `python -m benchmarks memory`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.answers import OF_MANY_KEYS
from benchmarks.books import check_books
from benchmarks.load import run_load
from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.workers import Process, redis_server, redis_url, worker

_APP = "redis_3"
_CONNECTIONS = 32
_VISIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident bytes after so many requests."""

    requests: int
    resident_bytes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=1_000_000, help="in all (default 1000000)")
    parser.add_argument("--grows-at-most", type=float, default=20.0, help="MiB from a tenth of them on (default 20)")


def run(options: argparse.Namespace) -> None:
    """Load, sample, print; exit 1 where memory grows."""
    print(told(machine()))
    with (
        redis_server() as store,
        worker(f"benchmarks.guarded:{_APP}", environment={"BENCH_REDIS_URL": redis_url(store)}) as process,
    ):
        samples = _sample(process, options.requests)
        most = samples[-1].requests + len(samples) * _CONNECTIONS
        booked = asyncio.run(
            check_books(store, namespace=_APP, account="global", at_least=samples[-1].requests, at_most=most)
        )
    print(f"\n{tell(samples)}")
    warm = _warm(samples)
    grown = samples[-1].resident_bytes - warm.resident_bytes
    print(f"{booked} requests booked; {_mib(grown):+.1f} MiB since request {warm.requests}")
    keep("memory", [asdict(sample) for sample in samples], options={"requests": options.requests})
    if _mib(grown) > options.grows_at_most:
        sys.exit(f"memory grew by {_mib(grown):.1f} MiB, more than {options.grows_at_most:g}")


def tell(figures: Sequence[Sample]) -> str:
    """Eleven samples of all, the first and the last among them."""
    last = len(figures) - 1
    chosen = dict.fromkeys(round(last * tenth / 10) for tenth in range(11))
    rows = [[f"{figures[index].requests:,}", _mib(figures[index].resident_bytes)] for index in chosen]
    return table(["requests", "resident MiB"], rows)


def _warm(samples: Sequence[Sample]) -> Sample:
    """From here on nothing has a reason to grow."""
    return next(sample for sample in samples if sample.requests >= samples[-1].requests / 10)


def _sample(process: Process, requests: int) -> list[Sample]:
    samples = [Sample(0, process.resident_bytes())]
    while samples[-1].requests < requests:
        progress(f"memory: {samples[-1].requests}/{requests} requests, {_mib(samples[-1].resident_bytes):.1f} MiB")
        load = run_load(OF_MANY_KEYS, port=process.port, connections=_CONNECTIONS, seconds=_VISIT_S)
        samples.append(Sample(samples[-1].requests + load.requests, process.resident_bytes()))
    progress("")
    return samples


def _mib(number: int) -> float:
    return number / 2**20
