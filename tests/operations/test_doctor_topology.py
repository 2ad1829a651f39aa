"""What `doctor` makes of the replicas of the primary that has the ledger."""

import pytest

from budget_middleware.operations.doctor.finding import Health
from budget_middleware.operations.doctor.topology import judge_topology


@pytest.mark.parametrize(
    ("connected", "wanted", "status", "words"),
    [
        ("0", 0, Health.WARN, "0 replicas"),
        ("1", 0, Health.OK, "1 replica, min-replicas-to-write 0, BUDGET_REPLICAS=0"),
        ("0", 1, Health.FAIL, "0 replicas"),
        ("1", 1, Health.OK, "the store is away whenever one of them is"),
        ("2", 1, Health.OK, "BUDGET_REPLICAS=1"),
    ],
)
def test_replicas_are_counted(connected: str, wanted: int, status: Health, words: str):
    facts = {"connected_slaves": connected, "min-replicas-to-write": "0"}
    found = judge_topology("the primary is 10.0.0.7:6379", facts, replicas_wanted=wanted)
    assert found.status is status
    assert found.message.startswith("the primary is 10.0.0.7:6379; ")
    assert words in found.message
    assert bool(found.fix) is (status is not Health.OK or connected == str(wanted))


def test_what_is_forbidden_is_unknown():
    found = judge_topology("the primary is 10.0.0.7:6379", {}, replicas_wanted=1)
    assert found.status is Health.WARN
    assert "INFO is forbidden" in found.message
    found = judge_topology("the primary is 10.0.0.7:6379", {"connected_slaves": "1"}, replicas_wanted=0)
    assert "min-replicas-to-write unknown" in found.message
