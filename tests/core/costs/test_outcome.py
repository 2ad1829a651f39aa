"""What an answer says of its end, and what became of the call by it."""

import pytest

from budget_middleware.core.costs.outcome import FINISH_OF_REASON, Finish, Outcome, finish_of, outcome_of

FACTS = {"is_error_status": False, "has_output": True, "is_whole": True, "is_understood": True}


@pytest.mark.parametrize(
    ("finish", "facts", "outcome"),
    [
        (None, {}, Outcome.COMPLETED),
        (None, {"is_whole": False}, Outcome.UNKNOWN),
        (None, {"is_understood": False}, Outcome.UNKNOWN),
        (Finish.COMPLETED, {}, Outcome.COMPLETED),
        (Finish.WITHHELD, {}, Outcome.COMPLETED),
        (Finish.TRUNCATED, {}, Outcome.TRUNCATED),
        (Finish.REFUSED, {"has_output": False}, Outcome.REFUSED),
        (Finish.FAILED, {}, Outcome.FAILED_AFTER_OUTPUT),
        (Finish.FAILED, {"has_output": False}, Outcome.FAILED_BEFORE_OUTPUT),
        (Finish.FAILED, {"has_output": False, "is_whole": False}, Outcome.FAILED_BEFORE_OUTPUT),
        (Finish.COMPLETED, {"is_error_status": True}, Outcome.FAILED_BEFORE_OUTPUT),
    ],
)
def test_what_became_of_a_call(finish, facts, outcome):
    assert outcome_of(finish, **(FACTS | facts)) is outcome


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", Finish.COMPLETED),
        ("STOP", Finish.COMPLETED),
        ("MAX_TOKENS", Finish.TRUNCATED),
        ("guardrail_intervened", Finish.REFUSED),
        ("PROHIBITED_CONTENT", Finish.REFUSED),
        ("ERROR_TOXIC", Finish.REFUSED),
        ("error", Finish.FAILED),
        ("insufficient_system_resource", Finish.FAILED),
        ("MALFORMED_FUNCTION_CALL", Finish.WITHHELD),
        # Whoever cancels pays for what was done until then.
        ("cancelled", None),
        ("whatever", None),
        ("", None),
        (None, None),
        (7, None),
        ({"error": 1}, None),
    ],
)
def test_what_a_reason_means(reason, finish):
    assert finish_of(reason) is finish


def test_each_reason_is_known_in_lower_case():
    assert all(reason.islower() for reason in FINISH_OF_REASON)
