"""Short stories of jobs: who asks too early, who asks at once, and what is on its way when a ticket is kept."""

from dataclasses import replace

import pytest

from budget_middleware.ledger.jobs import closed as closed_jobs
from tests.simulation.jobs import JOB_ESTIMATE_NANOS
from tests.simulation.plan import CallFault, Event, Fault, Kind, Look, Plan, PlannedJob
from tests.simulation.run import simulate
from tests.simulation.small import PLAN

JOB = PlannedJob(
    number=20_000,
    at_ms=0,
    worker=0,
    key=1,
    works_ms=2_000,
    deadline_s=6,
    cost_nanos=JOB_ESTIMATE_NANOS // 4,
    charge_nanos=JOB_ESTIMATE_NANOS,
    looks=(),
)
TWO_WORKERS = replace(PLAN, requests=(), workers=2, skews_ms=(0, 0))


def played(*looks: Look, events: tuple[Event, ...] = ()) -> tuple[dict[str, int], str]:
    """What came of the tickets, and the story if a promise was broken."""
    plan: Plan = replace(TWO_WORKERS, jobs=(replace(JOB, looks=looks),), events=events)
    outcome = simulate(plan, keeps_story=True)
    return dict(outcome.jobs), "\n".join(outcome.story) if outcome.violation else ""


def test_of_two_that_look_at_once_one_books():
    looks = (Look(20_001, 3_100, worker=0, cut_ms=0), Look(20_002, 3_100, worker=1, cut_ms=0))
    assert played(*looks) == ({"kept": 1, "found": 2, "finalized": 1, "already_finalized": 1}, "")


def test_one_that_is_cut_off_books_all_the_same():
    assert played(Look(20_001, 3_000, worker=1, cut_ms=15)) == ({"kept": 1, "found": 1}, "")


def test_a_job_that_nobody_sees_is_charged_at_its_deadline():
    assert played() == ({"kept": 1, "expired": 1}, "")


def test_one_that_is_seen_after_its_deadline_is_corrected():
    assert played(Look(20_001, 9_500, worker=1, cut_ms=0)) == ({"kept": 1, "found": 1, "finalized_late": 1}, "")


def test_a_ticket_that_the_store_lost_with_its_facts_is_told_as_lost():
    events = (Event(2_500, Kind.EMPTIED),)
    plan = replace(TWO_WORKERS, jobs=(replace(JOB, looks=(Look(20_001, 3_000, 1, 0),)),), events=events)
    outcome = simulate(plan)
    assert (outcome.violation, outcome.losses.tickets, dict(outcome.jobs)) == ("", 1, {"kept": 1})


def test_who_asked_before_the_ticket_was_kept_finds_it_later(monkeypatch: pytest.MonkeyPatch):
    looks = (Look(20_001, 1_000, worker=1, cut_ms=0), Look(20_002, 5_000, worker=1, cut_ms=0))
    assert played(*looks) == ({"kept": 1, "found": 1, "finalized": 1}, "")
    monkeypatch.setattr(closed_jobs, "UNKNOWN_S", 3_600.0)
    assert "there is no ticket" in played(*looks)[1]


@pytest.mark.parametrize("fault", [Fault.DELAYED, Fault.DUPLICATED])
def test_a_heartbeat_that_arrives_after_the_ticket_was_kept_does_not_shorten_it(fault: Fault):
    job = replace(JOB, faults=(CallFault(1, fault, 2_000),))
    outcome = simulate(replace(TWO_WORKERS, jobs=(job,)))
    assert outcome.violation == ""
