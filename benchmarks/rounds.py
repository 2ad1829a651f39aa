"""Visits in turn: each round visits every scenario once, and a ratio compares two visits of one round.

Machines drift, and neighbours come and go; what two visits within seconds of each other have in common cancels out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load import NoAnswer
from benchmarks.scenarios import Comparison, Scenario
from benchmarks.stage import Stage
from benchmarks.terminal import progress


@dataclass(frozen=True, slots=True)
class Visit:
    """The figures of one scenario under load for some seconds. CPU is per request: the worker's and the store's."""

    scenario: str
    connections: int
    round: int
    requests: int
    per_second: float
    cpu_us: float
    store_cpu_us: float
    p50_ms: float
    p99_ms: float


def visit_in_turn(
    comparison: Comparison, stage: Stage, *, connections: Sequence[int], rounds: int, seconds: float
) -> list[Visit]:
    """Load on every scenario, round by round, for each number of connections; progress goes to the terminal."""
    visits: list[Visit] = []
    total = rounds * len(comparison.scenarios) * len(connections)
    for scenario in comparison.scenarios:
        progress(f"{comparison.name}: warming up {scenario.name}")
        stage.warm_up(scenario, connections=connections[0])
    for each in connections:
        for number in range(rounds):
            for scenario in comparison.scenarios:
                progress(f"{comparison.name} {len(visits) + 1}/{total}: {scenario.name}, c = {each}")
                visits.append(_visit(scenario, stage, connections=each, number=number, seconds=seconds))
    progress("")
    return visits


def _visit(scenario: Scenario, stage: Stage, *, connections: int, number: int, seconds: float) -> Visit:
    """One visit, longer where nothing was answered in time: long streams on a busy machine."""
    try:
        return _figures(scenario, stage, connections=connections, number=number, seconds=seconds)
    except NoAnswer:
        return _figures(scenario, stage, connections=connections, number=number, seconds=5 * seconds)


def _figures(scenario: Scenario, stage: Stage, *, connections: int, number: int, seconds: float) -> Visit:
    worker, store = stage.workers[scenario.app], stage.store
    before_s, store_before_s = worker.cpu_s(), store.cpu_s()
    load = stage.load(scenario, connections=connections, seconds=seconds)
    return Visit(
        scenario.name,
        connections,
        number,
        load.requests,
        load.per_second,
        cpu_us=1e6 * (worker.cpu_s() - before_s) / load.requests,
        store_cpu_us=1e6 * (store.cpu_s() - store_before_s) / load.requests,
        p50_ms=1e3 * load.p50_s,
        p99_ms=1e3 * load.p99_s,
    )


def of(visits: Sequence[Visit], scenario: str, connections: int) -> list[Visit]:
    """The visits to one scenario, a round each."""
    return [visit for visit in visits if (visit.scenario, visit.connections) == (scenario, connections)]


def typical(visits: Sequence[Visit], figure: str) -> float:
    """The median of a figure."""
    return median(_figure(visit, figure) for visit in visits)


def ratio(visits: Sequence[Visit], base: Sequence[Visit], figure: str) -> float:
    """The median of the ratios of a figure, each formed within one round."""
    pairs = zip(visits, base, strict=True)
    return median(_figure(one, figure) / _figure(other, figure) for one, other in pairs)


def added(visits: Sequence[Visit], base: Sequence[Visit], figure: str) -> float:
    """The median of what a figure is more than another's, each formed within one round."""
    pairs = zip(visits, base, strict=True)
    return median(_figure(one, figure) - _figure(other, figure) for one, other in pairs)


def _figure(visit: Visit, name: str) -> float:
    return float(getattr(visit, name))
