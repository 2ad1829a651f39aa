"""Every rule about when operators are alerted lives in this file, and only here.

Theory of operation. Whoever follows the journal sees each change of each counter once, in order, with the figures
before and after it. From these follow:

- A threshold is crossed by exactly one entry, on the way up (`crossed`); of a rolling period by the sum of its buckets.
- At the pace of a window so far, spending passes its limit before the window ends (`expected_by_the_end`). The alert
  is over only well below the limit, so that a forecast about the limit does not chatter (`spends_too_fast`).
- A hold is old, although no ticket gave it so much time (`is_old`).
- After a gap in what was seen, what is spent by now says which thresholds have been crossed (`passed`).
"""

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Entry
from budget_middleware.core.forecast import forecast
from budget_middleware.core.limits.limits import Claim
from budget_middleware.core.limits.modes import Threshold
from budget_middleware.core.model import Counter, Reservation
from budget_middleware.core.periods import Rolling, Total
from budget_middleware.core.windows import Window

FORECAST_SHARE = 20
"""A forecast is made once a twentieth of the window is over: a morning's first request says nothing about a month."""

FORECAST_ALERTS_FROM_PERCENT, FORECAST_ENDS_BELOW_PERCENT = 110, 95
"""Percents of a limit: a forecast of so much alerts, and one below the other ends that."""

FORECAST_SPENT_PERCENT = 20
"""Of the limit: what is spent before says little about the pace."""

_HOUR_MS = 3_600_000


def with_thresholds(claim: Claim, percents: tuple[int, ...]) -> Claim:
    """The claim, with these thresholds where its enforced or soft limit has none of its own."""
    soft = claim.soft
    if soft is not None and not soft.alerts:
        soft = soft._replace(alerts=percents)
    alerts = claim.alerts or percents if claim.limit is not None else ()
    return claim._replace(alerts=alerts, soft=soft)


def crossed(entry: Entry, thresholds: Iterable[Threshold]) -> list[Threshold]:
    """Those that *spent* reaches by this entry; of a counter that is no bucket of a rolling period."""
    return reached(thresholds, before=entry.spent_before, after=entry.spent)


def reached(thresholds: Iterable[Threshold], *, before: int, after: int) -> list[Threshold]:
    """Those that a sum reaches by growing: not those that it had reached before."""
    return [each for each in thresholds if before < each.figure <= after]


def passed(spent: int, thresholds: Iterable[Threshold]) -> list[Threshold]:
    """Those at or below what is spent."""
    return [each for each in thresholds if each.figure <= spent]


def alerted_counter(counter: Counter, window: Window, time_ms: int) -> tuple[Counter, int]:
    """The counter as alerts name it, and until when a worker must remember that one was sent.

    A rolling period of so many hours alerts once in so many hours, whichever of its buckets is written to.
    """
    rule = counter.period.rule
    if not isinstance(rule, Rolling):
        return counter, window.ends_ms
    number = time_ms // (rule.longest_s * 1000)
    return counter._replace(window=f"rolling-{number}"), (number + 1) * rule.longest_s * 1000


def expected_by_the_end(spent: int, window: Window, *, limit: int, now_ms: int) -> int | None:
    """What will be spent by the end of a window of the calendar; None where that cannot be said, or too early."""
    length_ms, gone_ms = window.ends_ms - window.starts_ms, now_ms - window.starts_ms
    is_endless = isinstance(window.period.rule, Total | Rolling) or length_ms < _HOUR_MS
    if is_endless or now_ms >= window.ends_ms or gone_ms * FORECAST_SHARE < length_ms:
        return None
    found = forecast(spent=spent, limit=limit, starts_ms=window.starts_ms, ends_ms=window.ends_ms, now_ms=now_ms)
    return found.spent_at_end if found else None


def spends_too_fast(expected: int | None, *, spent: int, limit: int, was_too_fast: bool) -> bool:
    """Whether spending is too fast for the limit, by a forecast; was it, the forecast has to fall further.

    What has passed its limit already is no forecast any more.
    """
    if expected is None or spent >= limit:
        return False
    percent = FORECAST_ENDS_BELOW_PERCENT if was_too_fast else FORECAST_ALERTS_FROM_PERCENT
    return expected * 100 >= limit * percent and spent * 100 >= limit * FORECAST_SPENT_PERCENT


def is_old(hold: Reservation, *, now_ms: int, old_ms: int, lease_ms: int) -> bool:
    """Whether a reservation is held for so long, and only by its heartbeats.

    One whose deadline is far away has been given that much time: a batch takes a day.
    """
    return now_ms - hold.created_ms >= old_ms and hold.deadline_ms - now_ms <= 2 * lease_ms


def audit_day(now_ms: int, *, at_minute: int, timezone: ZoneInfo) -> str | None:
    """The day whose audit is to have begun by now; None before its minute has come."""
    local = datetime.fromtimestamp(now_ms // 1000, timezone)
    return local.date().isoformat() if local.hour * 60 + local.minute >= at_minute else None
