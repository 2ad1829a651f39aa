"""What the doctor says of the admin API: tokens that may be guessed, and an extra that is missing."""

import pytest

from budget_middleware.operations.doctor.admin import admin_findings
from budget_middleware.operations.doctor.finding import Health
from budget_middleware.settings_loading import load

LONG = "0123456789abcdef0123456789abcdef"


def test_without_a_token_there_is_nothing_to_say():
    assert admin_findings(load()) == []


@pytest.mark.parametrize(
    ("write", "read", "health", "says"),
    [
        (LONG, "", Health.OK, "the admin API at /budget reads and writes"),
        ("", LONG, Health.OK, "the admin API at /budget reads"),
        ("hunter2", "", Health.WARN, "BUDGET_ADMIN_TOKEN has fewer than 32 characters: it may be guessed"),
        (LONG, "hunter2", Health.WARN, "BUDGET_ADMIN_READ_TOKEN has fewer than 32 characters: it may be guessed"),
        (LONG[:31], "hunter2", Health.WARN, "BUDGET_ADMIN_TOKEN and BUDGET_ADMIN_READ_TOKEN have fewer"),
    ],
)
def test_short_tokens_are_told_and_not_shown(write: str, read: str, health: Health, says: str):
    (finding,) = admin_findings(load(admin_token=write, admin_read_token=read))
    assert finding.status is health
    assert finding.message.startswith(says)
    assert "hunter2" not in f"{finding.message} {finding.fix}"


def test_without_the_extra_no_gateway_starts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("budget_middleware.operations.admin_extra.find_spec", lambda _: None)
    (finding,) = admin_findings(load(admin_token=LONG))
    assert finding.status is Health.FAIL
    assert finding.message.endswith('fastapi and jinja2 are not installed: pip install "budget-middleware[admin]"')
