"""Where a worker's CPU time goes, as a table and a flame graph: `python -m benchmarks profile [APP]`."""

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.answers import CHAT, STREAM
from benchmarks.flames import draw_flames
from benchmarks.load import run_load
from benchmarks.results import FOLDER, keep, machine, told
from benchmarks.tables import table
from benchmarks.workers import redis_server, redis_url, worker

Stacks = Counter[tuple[str, ...]]

_PARTS = {
    "budget_middleware.": "",
    "redis.": "redis-py",
    "opentelemetry.": "OpenTelemetry",
    "aiocache.": "aiocache",
    "benchmarks.apps": "the app",
    "uvicorn.": "uvicorn",
}


@dataclass(frozen=True, slots=True)
class Share:
    """What one part takes of a worker's CPU time, and of that in a request."""

    part: str
    share: float
    cpu_us: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app", nargs="?", default="redis_3", help="of benchmarks.apps or .guarded (default redis_3)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load (default 10)")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="tell the N of ours that take most, too")
    parser.add_argument("--stream", action="store_true", help="load with streams")


def run(options: argparse.Namespace) -> None:
    """Sample a worker under load; print each part's share, draw its stacks."""
    print(told(machine()))
    stacks, cpu_us = _sampled(options)
    total = sum(stacks.values())
    shares = Counter[str]()
    for stack, count in stacks.items():
        shares[part_of(stack)] += count
    found = [Share(part, count / total, cpu_us * count / total) for part, count in shares.most_common()]
    print(f"\n{options.app}: {cpu_us:.0f} us of CPU time a request, {total} samples\n\n{tell(found)}")
    for function, count in _below(stacks).most_common(options.functions):
        print(f"{100 * count / total:>6.1f} %{cpu_us * count / total:>8.1f} us  {function}")
    name = f"profile-{options.app}{'-stream' * options.stream}"
    picture = FOLDER / f"{name}.svg"
    kept = {"connections": options.connections, "stream": options.stream}
    keep(name, [asdict(share) for share in found], options=kept)
    picture.write_text(draw_flames(stacks, part_of=part_of))
    print(f"flame graph: {picture}")


def tell(figures: Sequence[Share]) -> str:
    """The parts, the largest first."""
    rows = [[each.part, f"{100 * each.share:.1f} %", each.cpu_us] for each in figures]
    return table(["part", "of the CPU time", "us a request"], rows)


def _sampled(options: argparse.Namespace) -> tuple[Stacks, float]:
    ask = STREAM if options.stream else CHAT
    with tempfile.TemporaryDirectory() as folder, redis_server() as store:
        file = Path(folder) / "stacks"
        environment = {"BENCH_REDIS_URL": redis_url(store), "BENCH_PROFILE": str(file)}
        with worker(f"benchmarks.sampler:{options.app}", environment=environment) as process:
            run_load(ask, port=process.port, connections=options.connections, seconds=1)
            before_s = process.cpu_s()
            load = run_load(ask, port=process.port, connections=options.connections, seconds=options.seconds)
            cpu_us = 1e6 * (process.cpu_s() - before_s) / load.requests
        return read_stacks(file.read_text()), cpu_us


def read_stacks(text: str) -> Stacks:
    """What the sampler wrote, of requests only: start-up and shutdown have no event loop below them."""
    stacks = Stacks()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        stacks[tuple(frames.split(";"))] += int(count)
    return stacks


def _below(stacks: Stacks) -> Counter[str]:
    """How often each function of ours was on the stack: what it and all that it called took."""
    below = Counter[str]()
    for stack, count in stacks.items():
        for function in {frame for frame in stack if frame.startswith("budget_middleware.")}:
            below[function] += count
    return below


def part_of(stack: tuple[str, ...]) -> str:
    """Whose work the innermost frame did: that of a library, or of the module that called into Python's own."""
    for frame in reversed(stack):
        module = frame.partition(":")[0]
        for prefix, part in _PARTS.items():
            if module.startswith(prefix):
                return part or ".".join(module.split(".")[:2])
    return "event loop"
