"""The example of a job without HTTP, in a process of its own, over counters that a gateway could share."""

import os
import subprocess
import sys

import pytest

from budget_middleware.demo.servers import EXAMPLES
from tests.gateways.running import Books

pytestmark = pytest.mark.processes


def run(upstream: str, books: Books, *prompts: str) -> subprocess.CompletedProcess:
    env = {
        **os.environ,
        **books.env,
        "UPSTREAM_URL": upstream,
        "BUDGET_LIMITS": "team=0.0106/day",
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, EXAMPLES / "batch_job.py", *prompts], env=env, capture_output=True, check=False, text=True
    )


async def test_it_spends_until_the_budget_is_gone(upstream, books):
    # Each costs 2 and 20 tokens, .000205, and is estimated at a cent.
    job = run(upstream, books, *["two words"] * 4)
    assert job.stdout.splitlines() == ["two words: 20 tokens"] * 3
    assert job.returncode == 1
    assert job.stderr.strip().endswith("limit $0.0106, spent $0.000615, reserved $0.00, estimate $0.01")
    assert await books.of("team:batch") == ("0.000615", "0.00")
