"""The regression guard of CI: ratios of CPU time within one run, with wide margins: `python -m benchmarks guard`.

Seconds say nothing on a shared machine, and so does a ratio of throughputs while something else is running there. The
CPU time of one request over that of another, taken in turn, does.
"""

import argparse
import asyncio
import sys
from dataclasses import dataclass
from statistics import median

from benchmarks.books import BooksWrong
from benchmarks.load import LoadFailed
from benchmarks.results import machine, told
from benchmarks.rounds import Visit, of, ratio, visit_in_turn
from benchmarks.scenarios import GUARDED
from benchmarks.scripts import LEAST, ScriptTime, measure, ours
from benchmarks.stage import staged

_CONNECTIONS = GUARDED.connections[0]


@dataclass(frozen=True, slots=True)
class Margin:
    """One scenario may take so many times the CPU time of another for each request."""

    scenario: str
    base: str
    at_most: float


# About one and a half times the largest that was measured when they were set, on an Intel Xeon: a slip, not noise, goes
# over them. Ratios depend on the processor: an EPYC showed 10.8 where this one shows 13.5, of the same code.
MARGINS = (
    Margin("memory", "bare", 21),
    Margin("redis_3", "two_evalsha", 3.2),
    Margin("stream_redis", "stream_bare", 4.8),
)
SCRIPTS_AT_MOST = 8.0
"""Script time of our reserve and finalize on three accounts over that of the pair that does the least."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=2.0, help="load for each visit (default 2)")
    parser.add_argument("--rounds", type=int, default=4, help="visits to each scenario (default 4)")
    parser.add_argument("--requests", type=int, default=300, help="of each pair of scripts in a round (default 300)")


def run(options: argparse.Namespace) -> None:
    """Print each ratio and its margin; exit 1 where one is over it."""
    print(told(machine()))
    try:
        with staged(GUARDED) as stage:
            visits = visit_in_turn(
                GUARDED, stage, connections=GUARDED.connections, rounds=options.rounds, seconds=options.seconds
            )
            stage.check_books()
    except (LoadFailed, BooksWrong) as error:
        sys.exit(f"guard: {error}")
    times = asyncio.run(measure(options.requests, rounds=options.rounds, in_flight=1))
    found = [(f"CPU time, {each.scenario} / {each.base}", cpu_ratio(visits, each), each.at_most) for each in MARGINS]
    found.append(("script time, ours / the least", script_ratio(times), SCRIPTS_AT_MOST))
    for says, times_more, at_most in found:
        verdict = "" if times_more <= at_most else "  TOO MUCH"
        print(f"{says:<44}{times_more:>7.2f}, at most {at_most:g}{verdict}")
    if over := [says for says, times_more, at_most in found if times_more > at_most]:
        sys.exit(f"slower than it was: {'; '.join(over)}. `make bench ARGS=profile` shows where a worker's time goes")


def cpu_ratio(visits: list[Visit], margin: Margin) -> float:
    """The median of the ratios of the rounds."""
    one, other = of(visits, margin.scenario, _CONNECTIONS), of(visits, margin.base, _CONNECTIONS)
    return ratio(one, other, "cpu_us")


def script_ratio(times: list[ScriptTime]) -> float:
    """The median of the ratios of the rounds, on three accounts."""
    one, other = ([time.script_us for time in times if time.says == says] for says in (ours(3), LEAST))
    return median(mine / least for mine, least in zip(one, other, strict=True))
