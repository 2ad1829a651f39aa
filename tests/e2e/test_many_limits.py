"""A real worker beside 100,000 runtime limits, of which ten change each second."""

import pytest

from benchmarks.many_limits import Visit, visit_twice

pytestmark = pytest.mark.processes

SECONDS = 2.0
STALL_MS = 1_000
"""One change of 100,000 limits once stopped a worker for 3.4 s; a machine that others use adds some itself."""

RESIDENT_MIB = 30


@pytest.fixture(scope="module")
def visits() -> list[Visit]:
    # Not the default time-out: other tests share the machine's cores, and this is not about outages.
    patience = {"BUDGET_STORE_TIMEOUT_S": "10"}
    return visit_twice(limits=100_000, changes_per_s=10, seconds=SECONDS, environment=patience)


def test_f37_no_request_of_a_spent_key_is_admitted(visits: list[Visit]):
    assert [visit.spent_admitted for visit in visits] == [0, 0, 0]
    assert all(visit.spent_refused for visit in visits)
    assert [visit.unprotected for visit in visits] == [0, 0, 0]
    assert all(visit.statuses.keys() == {200, 429} for visit in visits)


def test_f37_changes_hold_nobody_up(visits: list[Visit]):
    first, without, with_changes = visits
    assert with_changes.changes >= SECONDS
    assert with_changes.longest_pause_ms < without.longest_pause_ms + STALL_MS
    assert first.longest_pause_ms < without.longest_pause_ms + STALL_MS, "nor does the index that is made at first"


def test_f37_a_worker_has_no_copy_of_the_limits(visits: list[Visit]):
    _, without, with_changes = visits
    assert with_changes.resident_mib < without.resident_mib + RESIDENT_MIB
