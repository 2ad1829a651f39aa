"""Throughput, latency and CPU time of one worker, scenario by scenario: `python -m benchmarks compare [NAME...]`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.books import BooksWrong
from benchmarks.load import LoadFailed
from benchmarks.results import keep, machine, told
from benchmarks.rounds import Visit, of, ratio, typical, visit_in_turn
from benchmarks.scenarios import COMPARISONS, Comparison
from benchmarks.stage import staged


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


def run(options: argparse.Namespace) -> None:
    """Measure, print a table for each comparison, keep the figures."""
    print(told(machine()))
    kept = {name: getattr(options, name) for name in ("seconds", "rounds")}
    for name in options.names or COMPARISONS:
        comparison = COMPARISONS[name]
        connections = options.connections or comparison.connections
        try:
            with staged(comparison) as stage:
                visits = visit_in_turn(
                    comparison, stage, connections=connections, rounds=options.rounds, seconds=options.seconds
                )
                stage.check_books()
        except (LoadFailed, BooksWrong) as error:
            sys.exit(f"{name}: {error}")
        print(f"\n{comparison.title}")
        for each in connections:
            print_table(comparison, visits, each)
        keep(f"compare-{name}", [asdict(visit) for visit in visits], options=kept)


def print_table(comparison: Comparison, visits: Sequence[Visit], connections: int) -> None:
    """One row a scenario: medians, and the ratio of its throughput to that of each base."""
    bases = "".join(f"{'of ' + base:>16}" for base in comparison.bases)
    print(f"{f'c = {connections}':<40}{'req/s':>8}{bases}{'CPU us':>8}{'store us':>9}{'p50 ms':>8}{'p99 ms':>8}")
    for scenario in comparison.scenarios:
        own = of(visits, scenario.name, connections)
        ratios = "".join(
            f"{ratio(own, of(visits, base, connections), 'per_second'):>16.2f}" for base in comparison.bases
        )
        print(
            f"{scenario.says:<40}{typical(own, 'per_second'):>8.0f}{ratios}{typical(own, 'cpu_us'):>8.0f}"
            f"{typical(own, 'store_cpu_us'):>9.1f}{typical(own, 'p50_ms'):>8.2f}{typical(own, 'p99_ms'):>8.2f}"
        )
