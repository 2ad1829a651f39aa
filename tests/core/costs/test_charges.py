"""The table of charges: how an answer ended, what is known of it, and what it books under each policy."""

import pytest

from budget_middleware.core.costs.charges import Charge, End, Evidence, OnAbort, OnExpire, charge_of, expiry_charge
from budget_middleware.core.costs.outcome import Outcome
from budget_middleware.core.units import NOTHING, Amounts

INPUT, SEEN, ESTIMATE, ACTUAL = 5, 17, 65, 29


def evidence(end, **facts):
    known = {
        "is_error": False,
        "output_began": True,
        "actual_nanos": None,
        "input_nanos": INPUT,
        "seen_nanos": SEEN,
        "estimate_nanos": ESTIMATE,
    }
    return Evidence(end=end, **(known | facts))


@pytest.mark.parametrize("policy", OnAbort)
@pytest.mark.parametrize("end", End)
class TestWhateverThePolicy:
    def test_an_answer_with_usage_is_booked_in_full(self, policy, end):
        charge = charge_of(evidence(end, actual_nanos=ACTUAL), on_abort=policy)
        assert charge == Charge(ACTUAL, "usage")
        assert not charge.is_release

    def test_a_usage_of_zeros_is_a_usage(self, policy, end):
        charge = charge_of(evidence(end, actual_nanos=0), on_abort=policy)
        assert (charge.nanos, charge.is_release) == (0, False)

    def test_an_error_costs_nothing(self, policy, end):
        charge = charge_of(evidence(end, is_error=True, actual_nanos=ACTUAL), on_abort=policy)
        assert (charge.nanos, charge.is_release) == (0, True)


@pytest.mark.parametrize("policy", OnAbort)
@pytest.mark.parametrize(("seen", "booked"), [(SEEN, SEEN), (0, 0), (None, ESTIMATE)])
def test_a_whole_answer_without_usage_books_what_was_seen(policy, seen, booked):
    charge = charge_of(evidence(End.COMPLETE, seen_nanos=seen), on_abort=policy)
    assert charge == Charge(booked, "estimated_complete")
    assert not charge.is_release


CUT_OFF = {
    OnAbort.PARTIAL: (0, SEEN, SEEN),
    OnAbort.INPUT: (INPUT, INPUT, SEEN),
    OnAbort.FULL: (ESTIMATE, ESTIMATE, SEEN),
    OnAbort.RELEASE: (0, 0, 0),
    OnAbort.DRAIN: (0, SEEN, SEEN),
}
"""Booked before output; after output if the client has gone; after output if the upstream broke."""


@pytest.mark.parametrize(("policy", "booked"), CUT_OFF.items())
class TestCutOff:
    @pytest.mark.parametrize("end", [End.CLIENT_GONE, End.BROKEN])
    def test_before_output(self, policy, booked, end):
        charge = charge_of(evidence(end, output_began=False), on_abort=policy)
        assert (charge.nanos, charge.is_release) == (booked[0], booked[0] == 0)
        assert charge.reason.startswith("estimated") is (booked[0] > 0)

    def test_the_client_leaves_after_output_began(self, policy, booked):
        charge = charge_of(evidence(End.CLIENT_GONE), on_abort=policy)
        assert (charge.nanos, charge.is_release) == (booked[1], booked[1] == 0)

    def test_the_upstream_breaks_after_output_began(self, policy, booked):
        charge = charge_of(evidence(End.BROKEN), on_abort=policy)
        assert (charge.nanos, charge.is_release) == (booked[2], booked[2] == 0)


@pytest.mark.parametrize("policy", OnAbort)
@pytest.mark.parametrize("end", End)
class TestFailures:
    @pytest.mark.parametrize("facts", [{}, {"actual_nanos": 0}, {"seen_nanos": None}])
    def test_before_output_it_costs_nothing(self, policy, end, facts):
        charge = charge_of(evidence(end, outcome=Outcome.FAILED_BEFORE_OUTPUT, **facts), on_abort=policy)
        assert (charge, charge.is_release) == (Charge(0, "error_answer"), True)

    def test_a_usage_that_it_tells_is_booked(self, policy, end):
        failed = evidence(end, outcome=Outcome.FAILED_BEFORE_OUTPUT, actual_nanos=ACTUAL)
        assert charge_of(failed, on_abort=policy) == Charge(ACTUAL, "usage")

    def test_after_output_it_is_as_if_the_upstream_broke(self, policy, end):
        charge = charge_of(evidence(end, outcome=Outcome.FAILED_AFTER_OUTPUT), on_abort=policy)
        assert charge == charge_of(evidence(End.BROKEN), on_abort=policy)


@pytest.mark.parametrize("policy", OnAbort)
@pytest.mark.parametrize("end", End)
def test_f51_work_that_goes_on_is_booked_at_its_estimate(policy, end):
    """Whoever leaves it, for it costs what it costs. `release` is the literal rule."""
    charge = charge_of(evidence(end, goes_on=True), on_abort=policy)
    is_released = end is not End.COMPLETE and policy is OnAbort.RELEASE
    assert charge == (Charge(0, "aborted_release") if is_released else Charge(ESTIMATE, "estimated_background"))


def test_what_another_guard_books_is_released():
    charge = charge_of(evidence(End.COMPLETE, actual_nanos=ACTUAL, inner_id="a1"), on_abort=OnAbort.PARTIAL)
    assert (charge, charge.is_release) == (Charge(0, "booked_by:a1"), True)
    assert not charge.with_added(3).is_release


def test_what_cannot_be_read_is_booked_as_estimated():
    charge = charge_of(evidence(End.CLIENT_GONE, seen_nanos=None), on_abort=OnAbort.PARTIAL)
    assert charge == Charge(ESTIMATE, "estimated_partial")


@pytest.mark.parametrize(
    ("policy", "charge"),
    [
        (OnExpire.RELEASE, NOTHING),
        (OnExpire.INPUT, Amounts(INPUT, tokens=50, requests=1)),
        (OnExpire.ESTIMATE, Amounts(ESTIMATE, tokens=650, requests=1)),
    ],
)
def test_expiry(policy, charge):
    of_input = Amounts(INPUT, tokens=50, requests=1)
    assert expiry_charge(policy, of_input=of_input, estimate=Amounts(ESTIMATE, tokens=650, requests=1)) == charge


def test_an_expiry_never_charges_more_than_was_held():
    assert expiry_charge(OnExpire.INPUT, of_input=Amounts(7, 1), estimate=Amounts(5, 2)) == Amounts(5, 1)
