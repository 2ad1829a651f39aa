"""docs/failure-modes.md held against the tests: every failure mode and every fault has a row, named tests exist."""

import re
from pathlib import Path

import pytest

from budget_middleware.ledger.calls import attempts, breaker
from budget_middleware.ledger.endings import endings, owed
from budget_middleware.stores.redis import lua_text
from tests.faults import proxy
from tests.simulation import plan
from tests.test_docs import rows

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "failure-modes.md").read_text("utf-8")
DEFINED = {
    name
    for path in TESTS.rglob("test_*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
}
ROWS = dict(re.findall(r"^\| (F\d\d) \|(.*)\|$", PAGE, flags=re.MULTILINE))
FAILURE_MODES = sorted({f"F{number:02}" for number in range(1, 33)} | ROWS.keys())


def test_every_test_that_is_named_exists():
    assert set(re.findall(r"`(test_\w+)`", PAGE)) <= DEFINED


@pytest.mark.parametrize("name", FAILURE_MODES)
def test_every_failure_mode_has_a_row_and_a_test_of_its_name(name: str):
    assert re.search(rf"`test_\w*{name.lower()}_\w+`", ROWS[name])


def test_there_are_no_other_failure_modes():
    assert sorted(ROWS) == FAILURE_MODES


def test_every_row_names_a_test():
    for head in ("fault", "damaged", "trouble"):
        assert all("`test_" in cells[-1] for cells in rows(PAGE, head)), head


def test_every_fault_that_is_injected_has_a_row():
    told = {name for cells in rows(PAGE, "fault") for name in re.findall(r"`([^`]+)`", cells[0])}
    injected = {fault.name.lower() for fault in proxy.Fault} | {*plan.Fault, *plan.Kind}
    assert told == injected | (set(plan.Client) - {plan.Client.STAYS})


def test_the_times_are_those_of_the_code():
    assert (attempts.FIRST_PAUSE_S, owed.LONGEST_PAUSE_S, endings.REPLAYED_S) == (0.02, 5, 300)
    assert breaker.PROBE_S == 1
    assert f"its last {owed.REPLAYED_MAX:,} endings" in PAGE
    assert "TRIED_AGAIN_MS = 60000" in lua_text("_leases")
