"""Looks at entries of a journal by the limits of their counters, and says which alerts they set off."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from budget_middleware.core.alerts.alerts import Alert, threshold_alert
from budget_middleware.core.alerts.rules import alerted_counter, crossed, passed, reached, with_thresholds
from budget_middleware.core.answers import Entry
from budget_middleware.core.limits.limits import Claim
from budget_middleware.core.limits.modes import Threshold, watches_of
from budget_middleware.core.model import Counter
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Window, counted_windows, is_rolling, window_at, window_named
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.limits.targets import target_in

KNOWN_MAX = 4_096
KNOWN_S = 60.0
ACTIVE_MAX = 10_000
"""Of so many counters that were booked on last it is looked how fast they spend."""


class Due(NamedTuple):
    """An alert that is to be told once until then."""

    alert: Alert
    until_ms: int


class Active(NamedTuple):
    """A counter that was booked on, and what its limit was then."""

    spent: int
    limit: int
    window: Window


class _Watched(NamedTuple):
    thresholds: tuple[Threshold, ...]
    limit: int | None
    window: Window


class Watcher:
    """Watches one ledger. ``percents`` go for limits without thresholds of their own."""

    def __init__(self, ledger: Ledger, *, name: str, timezone: ZoneInfo, percents: tuple[int, ...]) -> None:
        self._ledger = ledger
        self._name = name
        self._timezone = timezone
        self._percents = percents
        self._claims: dict[str, tuple[Claim, ...]] = {}
        self._limits_version = -1
        self._forget_at_s = 0.0
        self.active: OrderedDict[Counter, Active] = OrderedDict()

    async def look_at(self, entries: Sequence[Entry], *, limits_version: int) -> list[Due]:
        """What these entries set off, in their order. StoreUnavailable or StoreRefused."""
        self._forget_unless(limits_version)
        found: list[Due] = []
        rolling: dict[tuple[str, str, Unit], list[Entry]] = {}
        for entry in entries:
            if not entry.spent_delta:
                continue
            counter = entry.counter
            if is_rolling(counter.period):
                rolling.setdefault((counter.account, counter.period, counter.unit), []).append(entry)
                continue
            watched = await self._watched(counter, entry.time_ms)
            if watched is not None:
                self._note_active(entry, watched)
                found += self._due(entry.counter, crossed(entry, watched.thresholds), watched, entry, entry.spent)
        for of_series in rolling.values():
            found += await self._look_at_rolling(of_series)
        return found

    async def look_at_all(self, now_ms: int, *, limits_version: int) -> list[Due]:
        """Whatever threshold is passed by now, after entries were missed. Reads all counters."""
        self._forget_unless(limits_version)
        found: list[Due] = []
        for view in await self._ledger.store.counters():
            counter = view.counter
            if is_rolling(counter.period) or view.balance.spent <= 0:
                continue
            watched = await self._watched(counter, now_ms)
            if watched is not None and watched.window.starts_ms <= now_ms < watched.window.ends_ms:
                spent = view.balance.spent
                found += self._due(counter, passed(spent, watched.thresholds), watched, None, spent, now_ms=now_ms)
        return found

    async def _look_at_rolling(self, entries: Sequence[Entry]) -> list[Due]:
        """Of a rolling period the sum of its buckets counts, which no entry has."""
        last = entries[-1]
        account, period, _, unit = last.counter
        watched = await self._watched(last.counter, last.time_ms)
        if watched is None or not watched.thresholds:
            return []
        current = window_at(period, time_ms=last.time_ms, timezone=self._timezone)
        counted = {window.id for window in counted_windows(current)}
        views = await self._ledger.store.counters(account)
        spent = sum(
            view.balance.spent
            for view in views
            if (view.counter.period, view.counter.unit) == (period, unit) and view.counter.window in counted
        )
        before = spent - sum(entry.spent_delta for entry in entries)
        return self._due(last.counter, reached(watched.thresholds, before=before, after=spent), watched, last, spent)

    def _due(
        self,
        counter: Counter,
        thresholds: Iterable[Threshold],
        watched: _Watched,
        entry: Entry | None,
        spent: int,
        *,
        now_ms: int = 0,
    ) -> list[Due]:
        time_ms = entry.time_ms if entry else now_ms
        named, until_ms = alerted_counter(counter, watched.window, time_ms)
        return [
            Due(threshold_alert(self._name, named, each, spent=spent, entry=entry, time_ms=time_ms), until_ms)
            for each in thresholds
        ]

    def _note_active(self, entry: Entry, watched: _Watched) -> None:
        if watched.limit is None or entry.counter.unit is Unit.INFLIGHT:
            return
        self.active.pop(entry.counter, None)
        self.active[entry.counter] = Active(entry.spent, watched.limit, watched.window)
        if len(self.active) > ACTIVE_MAX:
            self.active.popitem(last=False)

    async def _watched(self, counter: Counter, time_ms: int) -> _Watched | None:
        """What a counter is watched for; None where nothing limits it, or it has a window of another time zone."""
        claims = self._claims.get(counter.account)
        if claims is None:
            found = await self._ledger.claims_of(counter.account, at_version=self._limits_version)
            claims = tuple(with_thresholds(claim, self._percents) for claim in found)
            if len(self._claims) >= KNOWN_MAX:
                self._claims.clear()
            self._claims[counter.account] = claims
        claim = next((each for each in claims if (each.period, each.unit) == (counter.period, counter.unit)), None)
        if claim is None or (claim.limit is None and not claim.soft and not claim.shadow):
            return None
        try:
            window = window_named(counter.period, counter.window, timezone=self._timezone)
        except ValueError:
            return None
        target = target_in(window, claim, now_ms=time_ms, timezone=self._timezone)
        watches = watches_of((claim,), (target,), now_ms=time_ms)
        return _Watched(watches[0].thresholds if watches else (), target.limit, window)

    def _forget_unless(self, limits_version: int) -> None:
        # A user's own source of limits has no version.
        now_s = time.monotonic()
        if limits_version != self._limits_version or now_s >= self._forget_at_s:
            self._limits_version = limits_version
            self._forget_at_s = now_s + KNOWN_S
            self._claims.clear()
