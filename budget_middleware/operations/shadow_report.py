"""What limits that only watch would have refused, over some days, and how large each would have to be."""

from collections.abc import Mapping
from dataclasses import dataclass

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.shadow import ShadowLimit, ShadowSum, day_of, days_between
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.values import Figure, figure, iso

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class ShadowRow:
    """What one limit would have refused. Its ``mode`` is shadow, or enforce where BUDGET_MODE=shadow let all pass.

    ``enough`` is the smallest limit that would have refused nothing: the largest sum, at any of these requests, of what
    was spent, what was reserved and its estimate. ``by_day`` has the requests of each day.
    """

    account: str
    period: Period
    unit: Unit
    mode: LimitMode
    limit: Figure
    requests: int
    estimates: Figure
    enough: Figure
    first_at: str
    last_at: str
    by_day: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Who would have refused most requests stands first. ``left_out`` requests were by more limits than are kept."""

    since: str
    until: str
    limits: tuple[ShadowRow, ...]
    left_out: int


async def report_shadow(context: OperatorContext, *, days: int) -> ShadowReport:
    """Of so many days of UTC, the one that has begun included."""
    now_ms = (await context.store.head()).now_ms
    since, until = day_of(now_ms - (days - 1) * _DAY_MS), day_of(now_ms)
    found = await context.store.shadow_sums(since_day=since)
    by_limit: dict[ShadowLimit, dict[str, ShadowSum]] = {}
    for day, sums, _ in found:
        for limit, each in sums.items():
            by_limit.setdefault(limit, {})[day] = each
    rows = [_row(limit, of_days, days_between(since, until)) for limit, of_days in by_limit.items()]
    return ShadowReport(
        since,
        until,
        tuple(sorted(rows, key=lambda row: (-row.requests, row.account, row.period, row.unit, row.limit))),
        left_out=sum(day.left_out for day in found),
    )


def _row(limit: ShadowLimit, of_days: Mapping[str, ShadowSum], days: list[str]) -> ShadowRow:
    total, *others = of_days.values()
    for each in others:
        total = total.plus(each)
    return ShadowRow(
        limit.account,
        limit.period,
        limit.unit,
        limit.mode,
        limit=figure(limit.limit, limit.unit),
        requests=total.requests,
        estimates=figure(total.estimates, limit.unit),
        enough=figure(total.enough, limit.unit),
        first_at=iso(total.first_ms, timespec="seconds"),
        last_at=iso(total.last_ms, timespec="seconds"),
        by_day={day: of_days[day].requests if day in of_days else 0 for day in days},
    )
