"""The walk of one request does not grow unseen: calls are counted, which is the same on a busy machine."""

import sys

import pytest

from benchmarks.checkouts import HERE
from benchmarks.walk import walk
from tests.conftest import EXACT_ESTIMATES

MOST_CALLS = 243
"""With the memory store, and estimates that learn, as by default. Whoever needs more says so here, and renews the table
in docs/performance.md.
"""


@pytest.mark.processes
def test_one_json_request_makes_no_more_calls_of_ours_than_it_did(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(EXACT_ESTIMATES)
    frames, all_calls = walk(HERE, "memory", "")
    assert 100 < len(frames) <= MOST_CALLS, f"python -m benchmarks walk --tree memory; Python {sys.version}"
    assert all_calls > len(frames)
