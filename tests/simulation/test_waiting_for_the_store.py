"""How long a request waits for a store that is away, by a clock that nothing else moves."""

from dataclasses import replace

import pytest

from tests.simulation.plan import CallFault, Event, Fault, Kind, Plan
from tests.simulation.run import simulate
from tests.simulation.small import PLAN, REQUEST
from tests.simulation.world import World

STORE_TIMEOUT_S = 0.5
"""As the simulation's workers are set."""

WAITED_S = STORE_TIMEOUT_S * 1.3
"""Its clock ticks ten times a time-out, and each wait may have begun between two ticks."""

LONG_MS = 10_000
AWAY = {
    **{
        str(fault): replace(
            PLAN, requests=(replace(REQUEST, faults=tuple(CallFault(nth, fault, LONG_MS) for nth in range(6))),)
        )
        for fault in Fault
        if fault is not Fault.DUPLICATED
    },
    "down": replace(PLAN, events=(Event(0, Kind.DOWN, for_ms=LONG_MS),), requests=(replace(REQUEST, at_ms=1),)),
}


def answered(plan: Plan) -> tuple[str, float, bool]:
    """The request's status, how long it took, and whether the gateway was called."""
    worlds: list[World] = []
    outcome = simulate(plan, keeps_story=True, on_wait=lambda world, _: worlds.append(world))
    assert not outcome.violation, outcome.story
    (over,) = [line for line in outcome.story if "request #1: over" in line]
    took_s = float(over.split()[0]) - plan.requests[0].at_ms / 1000
    return over.split()[-1], took_s, worlds[0].served[1].is_called


@pytest.mark.parametrize("away", AWAY)
def test_closed_refuses_within_the_time_out_and_calls_no_upstream(away: str):
    status, took_s, was_called = answered(replace(AWAY[away], on_store_error="closed"))
    assert (status, was_called) == ("503", False)
    assert took_s <= WAITED_S


@pytest.mark.parametrize("away", AWAY)
def test_open_waits_once_for_the_reserve_and_once_for_the_ending(away: str):
    status, took_s, was_called = answered(AWAY[away])
    assert (status, was_called) == ("200", True)
    assert took_s <= 2 * WAITED_S + REQUEST.pause_ms / 1000 + 0.001
