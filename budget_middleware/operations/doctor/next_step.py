"""Chooses the one step that helps most, of all that was found."""

from collections.abc import Mapping, Sequence
from typing import Final

from budget_middleware.operations.doctor.finding import Finding, Health

NOTHING_SET: Final = "run `budget-middleware init`: it writes a commented settings file"
SHADOWED: Final = "run `budget-middleware shadow`: it tells what would have been refused; then set BUDGET_MODE=enforce"
ALL_WELL: Final = "run `budget-middleware status`: it shows what is spent and what is reserved"

_LAST_OF_ALL: Final = "tracer"
"""Budgets are exact without spans, so that a warning of this check waits for all others."""


def next_step(findings: Sequence[Finding], environment: Mapping[str, str]) -> str:
    """The next step in one line: what keeps the gateway from starting, what is unsafe, then what to look at."""
    if failed := _first(findings, Health.FAIL):
        return _step_of(failed)
    if not any(name.upper().startswith("BUDGET_") and text for name, text in environment.items()):
        return NOTHING_SET
    if unsafe := _first([found for found in findings if found.check != _LAST_OF_ALL], Health.WARN):
        return _step_of(unsafe)
    if environment.get("BUDGET_MODE") == "shadow":
        return SHADOWED
    untraced = _first(findings, Health.WARN)
    return _step_of(untraced) if untraced else ALL_WELL


def _first(findings: Sequence[Finding], health: Health) -> Finding | None:
    """Checks come in the order in which they depend on each other, so the first is the one to mend first."""
    return next((found for found in findings if found.status is health and found.fix), None)


def _step_of(finding: Finding) -> str:
    return f"{finding.fix} ({finding.check})"
