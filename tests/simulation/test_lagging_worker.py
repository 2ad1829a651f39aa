"""A worker whose event loop stands still again and again beside a store that is always there."""

from dataclasses import replace

import pytest

from tests.simulation.drawing import draw
from tests.simulation.plan import Event, Kind, Plan
from tests.simulation.run import simulate

SEEDS = range(1, 41)


def lagging(seed: int) -> Plan:
    """The requests of a seed on workers that lag, with a store and a network that never fail."""
    plan = draw(seed)
    lags = tuple(Event(at_ms, Kind.LAG, worker, 5_000) for worker in range(plan.workers) for at_ms in (0, 7_000))
    return replace(
        plan,
        requests=tuple(replace(request, faults=()) for request in plan.requests),
        events=lags,
        house_faults=(),
        on_store_error=("open", "local")[seed % 2],
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_request_is_waved_through(seed: int, caplog: pytest.LogCaptureFixture):
    outcome = simulate(lagging(seed), keeps_story=True)
    assert not outcome.violation, outcome.story
    told = [record.getMessage() for record in caplog.records]
    assert not [line for line in told if "the store is away" in line or "the store gave no answer" in line]
