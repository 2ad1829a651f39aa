"""What one verb has read of counters: each is read once, and kept up with what the verb writes."""

from collections.abc import Sequence
from functools import lru_cache
from zoneinfo import ZoneInfo

from budget_middleware.core.model import Balance, Counter, Target
from budget_middleware.core.windows import Window, buckets_before, window_at
from budget_middleware.stores.tables import Tables

EMPTY = Balance()

# No clock shifts the buckets of a rolling period: any zone does.
_UTC = ZoneInfo("UTC")


class CountersRead:
    """The counters as of one verb at one instant, and what limits make of them."""

    def __init__(self, tables: Tables, *, now_ms: int) -> None:
        self._tables = tables
        self._now_ms = now_ms
        self._balances: dict[Counter, Balance | None] = {}

    def read(self, counters: Sequence[Counter]) -> dict[Counter, Balance | None]:
        """The balances of these counters, among others; None for one that is not there. The verb writes into them."""
        balances = self._balances
        if unread := [counter for counter in counters if counter not in balances]:
            balances.update(zip(unread, self._tables.balances(unread), strict=True))
        return balances

    def read_of(self, targets: Sequence[Target]) -> dict[Counter, Balance | None]:
        """The same of targets. Every verb asks several times."""
        balances, unread = self._balances, []
        for target in targets:
            if target.counter not in balances:
                unread.append(target.counter)  # noqa: PERF401 - most often all are read by now
        if unread:
            balances.update(zip(unread, self._tables.balances(unread), strict=True))
        return balances

    def own(self, counter: Counter) -> Balance:
        """What a counter itself shows."""
        return self.read((counter,))[counter] or EMPTY

    def compared(self, targets: Sequence[Target]) -> list[Balance]:
        """What the limits of targets are compared with: of a rolling one the sum of what counts now."""
        balances, compared = self._balances, list[Balance]()
        for target in targets:
            counter = target.counter
            if counter not in balances:
                self.read_of(targets)
            compared.append(balances[counter] or EMPTY if target.series is counter else self._sum(target.series))
        return compared

    def _sum(self, series: Counter) -> Balance:
        buckets = buckets_counted(series, now_ms=self._now_ms)
        found = self.read(buckets)
        return Balance(*map(sum, zip(*[found[bucket] or EMPTY for bucket in buckets], strict=True)))

    def bound(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """Targets under the limits that bind now: with what is carried over of the windows before."""
        for target in targets:
            if target.carry:
                return tuple([target.bound(self._spent) for target in targets])
        return targets

    def _spent(self, counter: Counter) -> int:
        return self.own(counter).spent


def buckets_counted(series: Counter, *, now_ms: int) -> list[Counter]:
    """Of a rolling limit: the counters of which it takes the sum."""
    account, period, _, unit = series
    current = window_at(period, time_ms=now_ms, timezone=_UTC)
    return [Counter(account, period, window, unit) for window in _windows_counted(current)]


@lru_cache(256)
def _windows_counted(current: Window) -> tuple[str, ...]:
    """The ids of their windows."""
    return tuple([window.id for window in (*buckets_before(current), current)])
