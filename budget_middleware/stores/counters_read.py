"""What limits are compared with: figures of counters, and what rolling periods and rests that are carried over make."""

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
    """The targets of a verb, and their counters in their order.

    ``is_plain``: each limit is compared with its counter, and with no other. ``ends`` are the counters that no limit
    looks at any more from some time on, with that; ``short_ends`` those of short windows. ``is_distinct``: it has no
    counter twice.
    """

    targets: tuple[Target, ...]
    counters: tuple[Counter, ...]
    is_plain: bool
    ends: tuple[tuple[Counter, int], ...]
    short_ends: tuple[tuple[Counter, int], ...]
    is_distinct: bool


def new_group(targets: tuple[Target, ...]) -> TargetGroup:
    ends = [(each.counter, each.counts_until_ms) for each in targets if each.counts_until_ms < FOREVER_MS]
    counters = tuple([target.counter for target in targets])
    return TargetGroup(
        targets,
        counters,
        is_plain=all(target.series is target.counter and target.carry is None for target in targets),
        ends=tuple([each for each in ends if not each[0].period.is_short]),
        short_ends=tuple([each for each in ends if each[0].period.is_short]),
        is_distinct=len(set(counters)) == len(counters),
    )


group_of = OncePerTargets(new_group)
NO_TARGETS = new_group(())


def compared(tables: Tables, group: TargetGroup, *, now_ms: int) -> Sequence[Balance]:
    """What the limits of targets are compared with: of a rolling one the sum of what counts now."""
    found = tables.balances(group.counters)
    if group.is_plain:
        return found
    return [
        balance if target.series is target.counter else _sum(tables, target.series, now_ms)
        for target, balance in zip(group.targets, found, strict=True)
    ]


def _sum(tables: Tables, series: Counter, now_ms: int) -> Balance:
    found = tables.balances(buckets_counted(series, now_ms=now_ms))
    return Balance(sum([each.spent for each in found]), sum([each.reserved for each in found]))


def bound(tables: Tables, group: TargetGroup) -> tuple[Target, ...]:
    """Targets under the limits that bind now: with what is carried over of the windows before."""
    if group.is_plain:
        return group.targets
    return tuple([target.bound(lambda counter: tables.balances((counter,))[0].spent) for target in group.targets])


def buckets_counted(series: Counter, *, now_ms: int) -> list[Counter]:
    """Of a rolling limit: the counters of which it takes the sum."""
    account, period, _, unit = series
    current = window_at(period, time_ms=now_ms, timezone=_UTC)
    return [Counter(account, period, window, unit) for window in _windows_counted(current)]


@lru_cache(256)
def _windows_counted(current: Window) -> tuple[str, ...]:
    """The ids of their windows."""
    return tuple([window.id for window in counted_windows(current)])
