"""Throughput, latency and CPU time of one worker, scenario by scenario: `python -m benchmarks compare [NAME...]`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.books import BooksWrong
from benchmarks.load import LoadFailed
from benchmarks.results import keep, machine, told
from benchmarks.rounds import Visit, added, of, ratio, typical, visit_in_turn
from benchmarks.scenarios import COMPARISONS, Comparison
from benchmarks.stage import staged
from benchmarks.tables import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        choices=[[], *COMPARISONS],
        metavar="NAME",
        help=f"one of {', '.join(COMPARISONS)}; default all",
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="load for each visit (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="visits to each scenario (default 3)")
    parser.add_argument(
        "--connections", type=int, nargs="+", help="concurrent connections (default: each comparison's own)"
    )
    parser.add_argument(
        "--litellm", metavar="PYTHON", help="an interpreter that has litellm[proxy], such as .venv-gateways/bin/python"
    )


def run(options: argparse.Namespace) -> None:
    """Measure, print a table for each comparison, keep the figures."""
    print(told(machine()))
    kept = {name: getattr(options, name) for name in ("seconds", "rounds")}
    for name in options.names or COMPARISONS:
        comparison = COMPARISONS[name]
        if comparison.needs_litellm and not options.litellm:
            print(f"\n{comparison.title}: not measured, for --litellm names no interpreter")
            continue
        python = options.litellm if comparison.needs_litellm else sys.executable
        connections = options.connections or comparison.connections
        try:
            with staged(comparison, python=python) as stage:
                visits = visit_in_turn(
                    comparison, stage, connections=connections, rounds=options.rounds, seconds=options.seconds
                )
                stage.check_books()
        except (LoadFailed, BooksWrong) as error:
            sys.exit(f"{name}: {error}")
        print(f"\n{comparison.title}\n\n{tell(visits)}")
        keep(f"compare-{name}", [asdict(visit) for visit in visits], options=kept)


def tell(visits: Sequence[Visit]) -> str:
    """A table for each number of connections: medians, and the ratio of the throughput to that of each base."""
    names = {visit.scenario for visit in visits}
    comparison = next(each for each in COMPARISONS.values() if {scenario.name for scenario in each.scenarios} == names)
    connections = dict.fromkeys(visit.connections for visit in visits)
    return "\n\n".join(_table(comparison, visits, each) for each in connections)


def _table(comparison: Comparison, visits: Sequence[Visit], connections: int) -> str:
    head = [f"c = {connections}", "answers/s", *(f"of {_said(comparison, base)}" for base in comparison.bases)]
    rows: list[list[object]] = []
    for scenario in comparison.scenarios:
        own = of(visits, scenario.name, connections)
        ratios = (ratio(own, of(visits, base, connections), "per_second") for base in comparison.bases)
        added_us = added(own, of(visits, comparison.bases[0], connections), "cpu_us")
        figures = (typical(own, name) for name in ("store_cpu_us", "p50_ms", "p99_ms"))
        rows.append([scenario.says, typical(own, "per_second"), *ratios, typical(own, "cpu_us"), added_us, *figures])
    return table([*head, "CPU us", "added CPU us", "store CPU us", "p50 ms", "p99 ms"], rows)


def _said(comparison: Comparison, name: str) -> str:
    return next(scenario.says for scenario in comparison.scenarios if scenario.name == name)
