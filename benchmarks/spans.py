"""What a sampled trace costs, by BUDGET_SPANS and exporter, and beside another checkout: `python -m benchmarks spans`.

`make bench ARGS="spans --beside ../other"` measures the code of `../other` in turn with this one. Each figure is from a
process of its own, see `traced`, and what is added is formed within a round.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.checkouts import HERE, add_beside, output_of
from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress

NONE, TODAY, BEFORE = "no provider", "counter, otlp", "the other checkout: counter, otlp"
_WAYS = {
    NONE: ("guard", "none", "nowhere"),
    "counter, made and dropped": ("guard", "counter", "nowhere"),
    "the SDK alone, same spans and attributes, dropped": ("sdk", "counter", "nowhere"),
    TODAY: ("guard", "counter", "otlp"),
    "counter, budget_otlp": ("guard", "counter", "budget_otlp"),
    "the SDK alone, same spans, budget_otlp": ("sdk", "counter", "budget_otlp"),
    "verb, made and dropped": ("guard", "verb", "nowhere"),
    "the SDK alone, same spans and events, dropped": ("sdk", "verb", "nowhere"),
    "verb, otlp": ("guard", "verb", "otlp"),
    "verb, budget_otlp": ("guard", "verb", "budget_otlp"),
    "the SDK alone, same spans and events, budget_otlp": ("sdk", "verb", "budget_otlp"),
}
_BESIDE = {
    "the other checkout: no provider": _WAYS[NONE],
    BEFORE: _WAYS[TODAY],
    "the other checkout: counter, budget_otlp": _WAYS["counter, budget_otlp"],
    "the other checkout: verb, budget_otlp": _WAYS["verb, budget_otlp"],
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU time a request, in one process."""

    says: str
    round: int
    cpu_us: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=64, help="of each visit (default 64)")
    parser.add_argument("--visits", type=int, default=50, help="in each process (default 50)")
    parser.add_argument("--rounds", type=int, default=5, help="of all ways in turn (default 5)")
    add_beside(parser)


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    ways = {says: (HERE, way) for says, way in _WAYS.items()}
    if options.beside is not None:
        ways |= {says: (options.beside, way) for says, way in _BESIDE.items()}
    kept: list[Cost] = []
    for number in range(options.rounds):
        for says, (code, way) in ways.items():
            progress(f"spans, round {number + 1}/{options.rounds}: {says}")
            kept.append(Cost(says, number, _measure(code, way, options)))
    progress("")
    print(f"\n{tell(kept)}")
    options_kept = {name: getattr(options, name) for name in ("requests", "visits", "rounds")}
    keep("spans", [asdict(cost) for cost in kept], options=options_kept)


def tell(figures: Sequence[Cost]) -> str:
    """The medians of all rounds. What is added, and how that compares, is formed within a round."""
    by_way = {says: [cost.cpu_us for cost in figures if cost.says == says] for says in dict.fromkeys(_says(figures))}
    base = by_way[BEFORE] if BEFORE in by_way else by_way[TODAY]
    added_at_base = _added(base, by_way[_none_of(BEFORE if BEFORE in by_way else TODAY)])
    head = ["a request with 3 limits", "CPU us", "added CPU us", f"of {'the other' if BEFORE in by_way else TODAY}"]
    rows = []
    for says, costs in by_way.items():
        added = _added(costs, by_way[_none_of(says)])
        ratios = [one / other for one, other in zip(added, added_at_base, strict=True)]
        rows.append([says, median(costs), median(added), median(ratios)])
    return table(head, rows)


def _says(figures: Sequence[Cost]) -> list[str]:
    return [cost.says for cost in figures]


def _none_of(says: str) -> str:
    """Tracing is compared to none, in the same checkout."""
    return next(iter(_BESIDE)) if says in _BESIDE else NONE


def _added(costs: Sequence[float], without: Sequence[float]) -> list[float]:
    return [cost - none for cost, none in zip(costs, without, strict=True)]


def _measure(code: Path, way: tuple[str, str, str], options: argparse.Namespace) -> float:
    """Run this checkout's measurement on the code of another.

    The figure is that which a tenth of the visits stay below: short visits that others at work did not disturb.
    """
    printed = output_of("traced.py", *way, options.requests, options.visits, code=code)
    visits: list[float] = sorted(json.loads(printed))
    return visits[len(visits) // 10]
