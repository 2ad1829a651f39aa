"""CPU time and function calls of a request without HTTP, beside two bare EVALSHA: `python -m benchmarks inprocess`.

Every way runs in a process of its own (see `visited`), and the processes take turns in short visits, so that whatever
else the machine does hits them alike; what is compared are ratios within a round. Function calls are those of Python
and of C together, as `cProfile` counts them: they are the same on a busy machine.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.checkouts import HERE, OTHER, add_beside, command_of, environment_of
from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.workers import redis_server, redis_url

BASE = "two redis-py EVALSHA"
_WAYS = {
    BASE: "two",
    "guarded, Redis, 3 accounts": "redis",
    "guarded, Redis, 8 limits of mixed units": "mixed",
    "guarded, memory, 3 accounts": "memory",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit to one way: function calls of a request, and its CPU time with 32 in flight."""

    says: str
    round: int
    calls: float
    cpu_us: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=400, help="of each visit (default 400)")
    parser.add_argument("--rounds", type=int, default=12, help="of all ways in turn (default 12)")
    add_beside(parser)


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    ways = {says: (HERE, way) for says, way in _WAYS.items()}
    if options.beside is not None:
        ways |= {f"{OTHER}: {way}": (options.beside, way) for way in ("redis", "memory")}
    with ExitStack() as stack:
        url = redis_url(stack.enter_context(redis_server()))
        visited = {
            says: stack.enter_context(process_of(code, way, url, requests=options.requests))
            for says, (code, way) in ways.items()
        }
        kept: list[Visit] = []
        for number in range(options.rounds):
            progress(f"inprocess, round {number + 1}/{options.rounds}")
            kept += [Visit(says, number, *process.ask("")) for says, process in visited.items()]
    progress("")
    print(f"\n{tell(kept)}")
    kept_options = {"requests": options.requests, "rounds": options.rounds}
    keep("inprocess", [asdict(visit) for visit in kept], options=kept_options)


def tell(figures: Sequence[Visit]) -> str:
    """Medians of the rounds; ratios are formed within a round."""
    by_way = {says: [each for each in figures if each.says == says] for says in dict.fromkeys(_says(figures))}
    base = by_way[BASE]
    rows = []
    for says, visits in by_way.items():
        ratios = [one.cpu_us / other.cpu_us for one, other in zip(visits, base, strict=True)]
        rows.append([says, round(visits[0].calls), median(each.cpu_us for each in visits), f"{median(ratios):.2f}"])
    return table(["a request, without HTTP", "function calls", "CPU us", "of two EVALSHA"], rows)


def _says(figures: Sequence[Visit]) -> list[str]:
    return [visit.says for visit in figures]


class Process:
    """A process of `visited`, which does something for each line that it is given."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, line: str) -> Any:
        """What it answers to a line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit("a process that was measured has ended")
        return json.loads(answer)


@contextmanager
def process_of(code: Path, way: str, url: str, *, requests: int) -> Iterator[Process]:
    command, pipe = command_of("visited.py", way, url, requests), subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment_of(code), text=True) as process:
        yield Process(process)
        assert process.stdin is not None
        process.stdin.close()
