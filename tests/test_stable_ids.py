"""A test has the same id in every process: a failure can be repeated by it, and xdist hands tests out by it.

Several workers of xdist prove it before their first test: their controller compares what each has collected, and says
which ids differ. One process asks another, which takes as long as all collecting does.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.processes
def test_another_process_collects_the_same_ids(request: pytest.FixtureRequest):
    """In a run of all tests these are all ids; another process has other hashes, another time and other randomness."""
    hashes_differ = os.environ.get("PYTHONHASHSEED", "random") == "random"
    if hashes_differ and int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
        return
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:cacheprovider", "tests"]
    another_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": another_seed}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert {item.nodeid for item in request.session.items} - set(ran.stdout.splitlines()) == set()
