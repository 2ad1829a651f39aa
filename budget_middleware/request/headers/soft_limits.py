"""The ``x-budget-warning`` header of an answer: soft limits that its request went over."""

from collections.abc import Sequence
from typing import Final

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.modes import Passed
from budget_middleware.core.units import Unit, format_figure
from budget_middleware.headers import Headers
from budget_middleware.request.headers.refusals import is_callers_own

MAX_WARNINGS: Final = 4
"""So many limits are named at most: servers and proxies bound header lines."""

MAX_ACCOUNT_CHARS: Final = 80


def warning_headers(passed: Sequence[Passed]) -> Headers:
    """Those of the caller's own accounts: ``key:1f3a5b7c1f3a5b7c $8.20 of $8.00/day (soft)``."""
    warnings = [
        _warning(each)
        for each in passed
        if each.mode is LimitMode.SOFT and is_callers_own(each.rejection.target.account)
    ]
    return [(b"x-budget-warning", ", ".join(warnings[:MAX_WARNINGS]).encode())] if warnings else []


def _warning(passed: Passed) -> str:
    target, limit = passed.rejection.target, passed.rejection.limit
    account = target.account[:MAX_ACCOUNT_CHARS]
    if target.unit is Unit.INFLIGHT:
        return f"{account} {passed.used} of {limit} in flight (soft)"
    used, allowed = (format_figure(figure, target.unit) for figure in (passed.used, limit))
    return f"{account} {used} of {allowed}/{target.window.period} (soft)"
