"""Which windows are replayed: budgets of so many calls, so many in flight, each from several places of a trace."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.replay.rules import Fixed, Learned, Rule
from benchmarks.replay.traces import Call, Trace
from benchmarks.replay.window import Outcome, replay

DEMAND = 2
"""How many times as many calls come as the budget covers: enough to overspend it."""

# Before that place of a trace no window begins, so that there are answers to have learnt from.
_HISTORY = 1 / 5
# No model writes less at most, and `worst` holds that.
_LEAST_CEILING = 16_384


class Cell(NamedTuple):
    """A window: its budget covers so many calls of usual cost, and so many are in flight at a time, of those that come.

    It begins with the call at ``start``.
    """

    budget_calls: int
    in_flight: int
    start: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Every budget with every number of calls in flight, ``windows`` times."""

    budgets: Sequence[int] = (20, 100, 1_000)
    in_flight: Sequence[int] = (1, 10, 100)
    windows: int = 20

    @property
    def n_windows(self) -> int:
        return len(self.budgets) * len(self.in_flight) * self.windows

    def cells(self, trace: Trace, *, seed: int) -> list[Cell]:
        drawing = random.Random(f"{seed} {trace.name} starts")
        n_calls = len(trace.calls)
        return [
            Cell(budget_calls, in_flight, drawing.randrange(int(n_calls * _HISTORY), n_calls))
            for budget_calls in self.budgets
            for in_flight in self.in_flight
            for _ in range(self.windows)
        ]


class Contender(NamedTuple):
    """A rule by its name. ``fixed_tokens`` is None for the learned one, and 0 for what a model can write at most."""

    name: str
    fixed_tokens: int | None = None
    wait_s: float = 0
    to_last_cent: bool = False

    def rule_for(self, trace: Trace, learned: Learned) -> Rule:
        if self.fixed_tokens is None:
            return learned.copy()
        return Fixed(self.fixed_tokens or output_ceiling(trace))


WAIT_S = 15
LEARNED, LEARNED_WAITING = Contender("learned"), Contender(f"learned, waits {WAIT_S} s", wait_s=WAIT_S)
LEARNED_LAST_CENT = Contender("learned, last cent", to_last_cent=True)
FIXED = tuple(Contender(f"fixed {tokens:,}", tokens) for tokens in (1_024, 2_048, 4_096, 8_192, 16_384))
WORST = Contender("worst", 0)
CONTENDERS = (LEARNED, LEARNED_WAITING, LEARNED_LAST_CENT, *FIXED, WORST)


class Result(NamedTuple):
    """What came of one window under one rule."""

    trace: str
    is_shifting: bool
    contender: Contender
    cell: Cell
    outcome: Outcome


def contenders_for(trace: Trace) -> Sequence[Contender]:
    """Learnt estimates are compared where there is something to learn; elsewhere they only must not overspend."""
    return (LEARNED, LEARNED_WAITING) if trace.is_shifting else CONTENDERS


def output_ceiling(trace: Trace) -> int:
    """What the model is taken to write at most: a power of two."""
    return max(_LEAST_CEILING, 1 << (trace.most_output_tokens - 1).bit_length())


def replay_all(trace: Trace, grid: Grid, *, seed: int, spreads: float) -> Iterator[Result]:
    """Every window under every rule that is compared there."""
    cells = grid.cells(trace, seed=seed)
    known = _learn_until(trace, {cell.start for cell in cells}, spreads=spreads)
    for cell in cells:
        calls = calls_of(trace, cell)
        limit_nanos = cell.budget_calls * trace.mean_cost_nanos
        for contender in contenders_for(trace):
            rule = contender.rule_for(trace, known[cell.start])
            outcome = replay(
                calls,
                rule,
                limit_nanos=limit_nanos,
                wait_s=contender.wait_s,
                to_last_cent=contender.to_last_cent,
            )
            yield Result(trace.name, trace.is_shifting, contender, cell, outcome)


def _learn_until(trace: Trace, starts: set[int], *, spreads: float) -> Mapping[int, Learned]:
    """What was learnt of all calls before each of these."""
    learned = Learned(most_tokens=output_ceiling(trace), spreads=spreads)
    known = {}
    for number, call in enumerate(trace.calls):
        if number in starts:
            known[number] = learned.copy()
        learned.learn(call)
    return known


def calls_of(trace: Trace, cell: Cell) -> list[Call]:
    """The calls that come in a window, at times at which so many are in flight as it says; after the last one of a
    trace comes its first.
    """
    n_calls, lap_s = len(trace.calls), trace.calls[-1].at_s
    numbers = range(cell.start, cell.start + DEMAND * cell.budget_calls)
    calls = [trace.calls[number % n_calls] for number in numbers]
    times_s = [call.at_s + lap_s * (number // n_calls) for number, call in zip(numbers, calls, strict=True)]
    began_s = times_s[0]
    lasts_s = len(calls) * trace.mean_seconds / cell.in_flight
    pace = lasts_s / ((times_s[-1] - began_s) or 1)
    return [call._replace(at_s=(at_s - began_s) * pace) for call, at_s in zip(calls, times_s, strict=True)]
