"""Which figures a verb compares with which limits: ``spent + reserved + estimate <= limit``.

A plain limit is compared with its own counter. Two kinds of limits need other counters of the store as well:

- A *rolling* limit (``key=30/24h``) has a counter for each bucket of time, and is compared with the sum of the current
  bucket and the sixty before it: `compared_balances`.
- A limit with a *carry-over* (``key=100/month!carry=50%``) is raised by what the window before has not used. The store
  knows how much that is, the worker that asks does not: `targets_with_carry`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from budget_middleware.core.model import Balance, Counter, OncePerTargets, Target
from budget_middleware.core.windows import FOREVER_MS, Window, counted_windows, window_at
from budget_middleware.stores.tables import Tables

# No clock shifts the buckets of a rolling period: any zone does.
_UTC = ZoneInfo("UTC")


class TargetGroup(NamedTuple):
    """The targets of a verb, and what follows from them alone. Most requests bring targets that were seen before."""

    targets: tuple[Target, ...]

    counters: tuple[Counter, ...]
    """The counter of each target, in their order: what the verb books on."""

    is_plain: bool
    """No limit is a rolling one, and none has a carry-over: each is compared with its counter, as it is."""

    is_distinct: bool
    """No counter comes twice."""

    counted_until_ms: tuple[tuple[Counter, int], ...]
    """Counters of windows that end, each with the time from which on no limit looks at it any more."""

    short_counted_until_ms: tuple[tuple[Counter, int], ...]
    """The same for counters of short windows, which are kept for a shorter time."""


def new_group(targets: tuple[Target, ...]) -> TargetGroup:
    counters = tuple([target.counter for target in targets])
    until_ms = [(each.counter, each.counts_until_ms) for each in targets if each.counts_until_ms < FOREVER_MS]
    return TargetGroup(
        targets,
        counters,
        is_plain=not any(target.is_rolling or target.carry is not None for target in targets),
        is_distinct=len(set(counters)) == len(counters),
        counted_until_ms=tuple([each for each in until_ms if not each[0].period.is_short]),
        short_counted_until_ms=tuple([each for each in until_ms if each[0].period.is_short]),
    )


group_of = OncePerTargets(new_group)
NO_TARGETS = new_group(())


def compared_balances(tables: Tables, group: TargetGroup, *, now_ms: int) -> Sequence[Balance]:
    """For each target the balance that its limit is compared with: that of its counter, or the sum of a rolling one."""
    own = tables.balances(group.counters)
    if group.is_plain:
        return own
    return [
        _sum_of_buckets(tables, target.series, now_ms) if target.is_rolling else balance
        for target, balance in zip(group.targets, own, strict=True)
    ]


def _sum_of_buckets(tables: Tables, series: Counter, now_ms: int) -> Balance:
    buckets = tables.balances(buckets_counted(series, now_ms=now_ms))
    return Balance(sum([each.spent for each in buckets]), sum([each.reserved for each in buckets]))


def buckets_counted(series: Counter, *, now_ms: int) -> list[Counter]:
    """The counters whose sum a rolling limit is compared with now, the oldest first."""
    account, period, _, unit = series
    current = window_at(period, time_ms=now_ms, timezone=_UTC)
    return [Counter(account, period, window_id, unit) for window_id in _ids_counted(current)]


@lru_cache(256)
def _ids_counted(current: Window) -> tuple[str, ...]:
    return tuple([window.id for window in counted_windows(current)])


def targets_with_carry(tables: Tables, group: TargetGroup) -> tuple[Target, ...]:
    """The targets under the limits that bind now: raised by what is carried over of the windows before."""
    if group.is_plain:
        return group.targets
    return tuple([target.bound(lambda counter: tables.balances((counter,))[0].spent) for target in group.targets])
