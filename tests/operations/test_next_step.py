"""The doctor's last line: the one step that helps most."""

import pytest

from budget_middleware.operations.doctor import Finding, Health, next_step

OK = Finding("settings", Health.OK, "all are accepted")
NO_LIMITS = Finding("limits", Health.WARN, "none", "set BUDGET_LIMITS")
UNTRACED = Finding("tracer", Health.WARN, "spans go nowhere", "run under opentelemetry-instrument")
STORE_AWAY = Finding("store", Health.FAIL, "no answer", "start it")
TOLD_ONLY = Finding("gateway", Health.WARN, "odd, and nothing to be done")
SET = {"BUDGET_LIMITS": "key=1/day"}
SHADOW = {"BUDGET_MODE": "shadow"}


@pytest.mark.parametrize(
    ("findings", "environment", "step"),
    [
        ([OK, UNTRACED, NO_LIMITS, STORE_AWAY], SET, "start it (store)"),
        ([STORE_AWAY], {}, "start it (store)"),
        ([OK, NO_LIMITS], {}, "run `budget-middleware init`: it writes a commented settings file"),
        ([OK, NO_LIMITS], {"BUDGET_LIMITS": ""}, "run `budget-middleware init`: it writes a commented settings file"),
        ([OK, UNTRACED, NO_LIMITS], SET, "set BUDGET_LIMITS (limits)"),
        ([OK, UNTRACED, NO_LIMITS], SHADOW, "set BUDGET_LIMITS (limits)"),
        (
            [OK, UNTRACED],
            SHADOW,
            "run `budget-middleware shadow`: it tells what would have been refused; then set BUDGET_MODE=enforce",
        ),
        ([OK, TOLD_ONLY, UNTRACED], SET, "run under opentelemetry-instrument (tracer)"),
        ([OK], SET, "run `budget-middleware status`: it shows what is spent and what is reserved"),
    ],
    ids=[
        "failure",
        "failure first",
        "nothing set",
        "set to nothing",
        "unsafe",
        "unsafe shadow",
        "shadow",
        "tracer",
        "well",
    ],
)
def test_the_step_that_helps_most(findings: list[Finding], environment: dict[str, str], step: str):
    assert next_step(findings, environment) == step
