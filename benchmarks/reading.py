"""What reading a stream costs, by dialect, length and how it arrives: `python -m benchmarks reading`.

`make bench ARGS="reading --beside ../other"` measures the code of `../other` in turn with this one. No server and no
HTTP: CPU time of the reader alone, the least of several rounds.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.checkouts import OTHER, THIS, add_beside, checkouts, output_of
from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress


@dataclass(frozen=True, slots=True)
class Reading:
    """Microseconds of CPU time a stream."""

    code: str
    stream: str
    chunks: int
    arriving: str
    cpu_us: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="of all checkouts in turn (default 3)")
    add_beside(parser)


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    found: list[Reading] = []
    for number in range(options.rounds):
        for says, code in checkouts(options).items():
            progress(f"reading, round {number + 1}/{options.rounds}: {says}")
            found += [Reading(says, **figure) for figure in json.loads(output_of("read_streams.py", code=code))]
    progress("")
    print(f"\n{tell(found)}")
    keep("reading", [asdict(reading) for reading in found], options={"rounds": options.rounds})


def tell(readings: Sequence[Reading]) -> str:
    """The least of each; beside another checkout the ratio too."""
    least: dict[Reading, float] = {}
    for reading in readings:
        what = replace(reading, cpu_us=0)
        least[what] = min(reading.cpu_us, least.get(what, reading.cpu_us))
    has_other = any(what.code == OTHER for what in least)
    rows: list[list[object]] = []
    for what, this_us in least.items():
        if what.code == THIS:
            other_us = least.get(replace(what, code=OTHER))
            beside = [other_us, this_us / other_us] if other_us else []
            rows.append([f"{what.stream}, {what.arriving}", what.chunks, this_us, *beside])
    head = ["stream", "chunks", "us", *(["us, the other", "ratio"] if has_other else [])]
    return table(head, rows)
