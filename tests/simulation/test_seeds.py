"""The fixed budget of seeds: whatever befalls workers, network and store, every counter is what was really served."""

import os
import subprocess
import sys

import pytest
import redis

from tests.simulation.__main__ import Summary, shortest_story
from tests.simulation.drawing import draw
from tests.simulation.hosts import MemoryHost, ScriptsHost
from tests.simulation.run import simulate
from tests.simulation.world import OpenHost

SPANS = [range(first, first + 50) for first in range(1, 401, 50)]
SCRIPTS_SEEDS = range(401, 451)


def simulate_all(seeds: range, open_host: OpenHost = MemoryHost) -> Summary:
    summary = Summary()
    for seed in seeds:
        outcome = simulate(draw(seed), open_host=open_host)
        if outcome.violation:
            story = "\n".join(shortest_story(outcome.plan, open_host))
            scripts = "" if open_host is MemoryHost else "--scripts "
            again = f"python -m tests.simulation {scripts}--seeds {seed} --story"
            pytest.fail(f"seed {seed} ({again}): {outcome.violation}\n{story}")
        summary.add(outcome)
    return summary


@pytest.mark.proves("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10")
@pytest.mark.parametrize("seeds", SPANS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_every_promise_is_kept(seeds: range):
    summary = simulate_all(seeds)
    assert summary.requests > 500
    assert summary.faults.total() > 500
    assert summary.grown > 30


@pytest.mark.proves("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10")
def test_the_real_scripts_keep_them_too(server_url: str, namespace: str):
    with redis.Redis.from_url(server_url, decode_responses=True) as client:
        simulate_all(SCRIPTS_SEEDS, lambda clock_ms: ScriptsHost(client, namespace=namespace, clock_ms=clock_ms))


@pytest.mark.processes
def test_a_seed_is_one_story_in_every_process():
    """In one that has played others before, too."""
    here = "\n".join(simulate(draw(11), keeps_story=True).story) + "\n"
    assert here.count("\n") > 10
    assert {_story_of(seed=11, hash_seed=hash_seed) for hash_seed in ("0", "1")} == {here}


def _story_of(*, seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(seed), "--story"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
