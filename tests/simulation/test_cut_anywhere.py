"""A request that is cut off at every point where it waits, alone and together with a fault of the store, ends exact.

The points are counted, not guessed: a first run tells how often the request's task waits, then there is one run
for each of them.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from tests.simulation.client import Connection
from tests.simulation.hosts import MemoryHost, ScriptsHost
from tests.simulation.plan import CallFault, Client, Fault, Plan, Play
from tests.simulation.run import simulate
from tests.simulation.small import PLAN, REQUEST
from tests.simulation.world import OpenHost, World

KINDS = (
    (Fault.LOST, 5),
    (Fault.LOST, 700),
    (Fault.REPLY_LOST, 5),
    (Fault.DELAYED, 700),
    (Fault.REPLY_DELAYED, 700),
    (Fault.DUPLICATED, 2_000),
    (Fault.REFUSED, 0),
)
FAULTS = [(CallFault(nth, kind, ms),) for nth in (0, 1) for kind, ms in KINDS]
"""One of the request's first two calls goes wrong: as a rule its reserve or its ending."""

Deed = Callable[[World, Connection], None]


def cancel(_: World, connection: Connection) -> None:
    connection.cancel()


def leave(_: World, connection: Connection) -> None:
    connection.leave()


def kill(world: World, _: Connection) -> None:
    world.kill(world.lives[0])


def pause(world: World, _: Connection) -> None:
    process = world.lives[0].process
    process.pause()
    world.later(PLAN.lease_s * 1300, process.resume)


DEEDS: dict[str, tuple[Client, Deed]] = {
    "cancel": (Client.STAYS, cancel),
    "cancel on and on": (Client.CANCELS_ON, cancel),
    "leave": (Client.STAYS, leave),
    "kill": (Client.STAYS, kill),
    "pause beyond the lease": (Client.STAYS, pause),
}


def cut_at(point: int, deed: Deed) -> Callable[[World, Connection], None]:
    def on_wait(world: World, connection: Connection) -> None:
        if connection.waits == point:
            world.later(0, deed, world, connection)

    return on_wait


def points_of(plan: Plan, open_host: OpenHost = MemoryHost) -> int:
    """How often the request's task waits if nobody cuts it off."""
    counted = []
    outcome = simulate(plan, open_host=open_host, on_wait=lambda _, connection: counted.append(connection.waits))
    assert not outcome.violation
    return len(counted)


def cut_off_everywhere(plan: Plan, deed: str, open_host: OpenHost = MemoryHost) -> None:
    client, do = DEEDS[deed]
    plan = replace(plan, requests=tuple(replace(request, client=client) for request in plan.requests))
    for point in range(1, points_of(plan, open_host) + 1):
        outcome = simulate(plan, open_host=open_host, keeps_story=True, on_wait=cut_at(point, do))
        assert not outcome.violation, f"{deed} at its wait {point}:\n" + "\n".join(outcome.story)


@pytest.mark.proves("I3", "I7")
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("play", Play)
def test_a_request_cut_off_anywhere_ends_exact(play: Play, deed: str):
    cut_off_everywhere(replace(PLAN, requests=(replace(REQUEST, play=play),)), deed)


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("play", [Play.JSON, Play.STREAM])
def test_also_where_a_call_to_the_store_goes_wrong(play: Play, deed: str):
    for faults in FAULTS:
        cut_off_everywhere(replace(PLAN, requests=(replace(REQUEST, play=play, faults=faults),)), deed)


@pytest.mark.parametrize("deed", ["cancel", "kill"])
def test_also_on_the_real_scripts(deed: str, server_url: str, namespace: str):
    with redis.Redis.from_url(server_url, decode_responses=True) as client:
        for faults in [(), *FAULTS]:
            cut_off_everywhere(
                replace(PLAN, requests=(replace(REQUEST, faults=faults),)),
                deed,
                lambda clock_ms: ScriptsHost(client, namespace=namespace, clock_ms=clock_ms),
            )


@pytest.mark.parametrize("on_abort", ["input", "full", "release", "drain"])
@pytest.mark.parametrize("deed", ["cancel", "leave"])
def test_whatever_an_abort_costs(deed: str, on_abort: str):
    cut_off_everywhere(replace(PLAN, on_abort=on_abort, requests=(replace(REQUEST, play=Play.STREAM),)), deed)


def test_the_points_are_many_enough_to_prove_something():
    stream = replace(PLAN, requests=(replace(REQUEST, play=Play.STREAM),))
    assert points_of(PLAN) >= 6
    assert points_of(stream) > points_of(PLAN)
