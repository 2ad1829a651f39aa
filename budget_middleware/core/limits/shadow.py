"""What limits that only watch would have refused, summed by limit and day.

The log of refusals is bounded, and forgets. These sums are exact whatever it drops: one for each limit and each day (of
UTC, by the store's clock), however many requests they stand for.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.model import Rejection
from budget_middleware.core.money import MAX_NANOS
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period

LARGEST_FIGURE = MAX_NANOS
"""Figures of sums stop here: a script's numbers are exact up to it. In money that is nine million dollars a day."""


class ShadowLimit(NamedTuple):
    """A limit that refused nothing: a shadow limit, or, with the mode ``enforce``, any under BUDGET_MODE=shadow."""

    account: str
    period: Period
    unit: Unit
    limit: int
    mode: LimitMode


class ShadowSum(NamedTuple):
    """The requests of one day that a limit would have refused.

    ``enough`` is the largest sum of *spent*, *reserved* and estimate among them: the smallest limit that would have
    refused none of them.
    """

    requests: int
    estimates: int
    enough: int
    first_ms: int
    last_ms: int

    def plus(self, other: "ShadowSum") -> "ShadowSum":
        return ShadowSum(
            min(self.requests + other.requests, LARGEST_FIGURE),
            min(self.estimates + other.estimates, LARGEST_FIGURE),
            max(self.enough, other.enough),
            min(self.first_ms, other.first_ms),
            max(self.last_ms, other.last_ms),
        )


class ShadowDay(NamedTuple):
    """The sums of one day, ``YYYY-MM-DD``. ``left_out`` requests were by more limits than are kept of a day."""

    day: str
    sums: dict[ShadowLimit, ShadowSum]
    left_out: int = 0


def day_of(time_ms: int) -> str:
    """The day of UTC that a time of the store is in."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).date().isoformat()


def days_between(first: str, last: str) -> list[str]:
    """Both of them and those between, the oldest first."""
    since = date.fromisoformat(first)
    return [(since + timedelta(n)).isoformat() for n in range((date.fromisoformat(last) - since).days + 1)]


def limit_of(rejection: Rejection, mode: LimitMode) -> ShadowLimit:
    target = rejection.target
    return ShadowLimit(target.account, target.window.period, target.unit, rejection.limit, mode)


def sum_of(rejection: Rejection, *, time_ms: int) -> ShadowSum:
    """The sum of one request that a limit would have refused."""
    spent, reserved = rejection.balance
    enough = min(spent + reserved + rejection.estimate, LARGEST_FIGURE)
    return ShadowSum(1, min(rejection.estimate, LARGEST_FIGURE), enough, time_ms, time_ms)
