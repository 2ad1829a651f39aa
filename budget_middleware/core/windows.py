"""Windows: which minute, day, month or part of a rolling day an instant belongs to.

The windows of one period partition time, whatever a zone does to its clocks:

- A day starts at the first instant whose local time has reached its midnight. Where a clock jumps over
  midnight that is the jump; a day that is skipped whole has no window; when a clock goes back over midnight,
  the evening that comes twice belongs to the new day. Weeks, months, years and the lapse of a credit start
  with their first day.
- An hour is an hour of the local clock under one UTC offset, so the hour that a clock shows twice is two
  windows, and a shift of 30 minutes makes short ones. Its id carries the offset. So it is with minutes.
- A rolling period has buckets, counted from 1970 on in UTC: no clock shifts them.
"""

from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from budget_middleware.core.periods import (
    ACCEPTED_PERIODS,
    PERIODS,
    ROLLING_BUCKETS,
    SHORT_WINDOW_S,
    Clock,
    Days,
    Months,
    Period,
    Rolling,
    Total,
    Weeks,
    Years,
    is_rolling,
    period_order,
)

__all__ = [
    "ACCEPTED_PERIODS",
    "FOREVER_MS",
    "LAPSED",
    "PERIODS",
    "ROLLING_BUCKETS",
    "SHORT_WINDOW_S",
    "Period",
    "Window",
    "counted_s",
    "counted_windows",
    "has_lapsed",
    "is_rolling",
    "limit_in",
    "period_order",
    "previous_window",
    "window_at",
    "window_named",
]

FOREVER_MS = 253_402_300_800_000
"""Start of the year 10000 in UTC, in milliseconds since 1970."""

LAPSED = "since-"
"""How the ids of windows begin in which a credit has lapsed."""


class Window(NamedTuple):
    """One instance of a period: every instant with `starts_ms <= time < ends_ms` (ms since 1970, UTC)."""

    period: Period
    id: str
    starts_ms: int
    ends_ms: int


_TOTAL = Window(Period.TOTAL, "total", 0, FOREVER_MS)
_EXAMPLE_S = int(datetime(2026, 11, 24, 5, tzinfo=UTC).timestamp())
# How much of an ISO time names a window, and what of an ISO date need not be said.
_CLOCK_CHARACTERS = {Period.HOUR: 13, Period.MINUTE: 16}
_FIRST_DAY = {Period.MONTH: "-01", Period.YEAR: "-01-01"}
_LAST_MAX = 1_024
# The window asked for last: nearly every request falls into it. A lost race costs one computation.
_last: dict[tuple[Period, ZoneInfo], Window] = {}


def window_at(period: Period, *, time_ms: int, timezone: ZoneInfo) -> Window:
    """The window of `period` that contains `time_ms` (ms since 1970), from 1970 to the year 9998."""
    window = _last.get((period, timezone))
    if window is None or not window.starts_ms <= time_ms < window.ends_ms:
        if len(_last) >= _LAST_MAX:
            _last.clear()
        window = _last[period, timezone] = _compute(period, time_ms // 1000, timezone)
    return window


def previous_window(window: Window, *, timezone: ZoneInfo) -> Window:
    """The window that ends where this one starts; ValueError for the first, such as that of `total`."""
    previous = _compute(window.period, window.starts_ms // 1000 - 1, timezone)
    if previous == window:
        raise ValueError(f"no window of period {window.period} is before {window.id}")
    return previous


def counted_windows(window: Window) -> tuple[Window, ...]:
    """Those whose amounts its limit counts, the oldest first and itself last: alone, unless the period is rolling."""
    rule = window.period.rule
    if not isinstance(rule, Rolling):
        return (window,)
    current_s = window.starts_ms // 1000
    oldest_s = max(0, current_s - ROLLING_BUCKETS * rule.bucket_s)
    earlier = [_bucket(window.period, rule, at_s) for at_s in range(oldest_s, current_s, rule.bucket_s)]
    return (*earlier, window)


def has_lapsed(window: Window) -> bool:
    """Whether it is the time after the end of a credit, in which the limit is 0."""
    return window.id.startswith(LAPSED)


def limit_in(window: Window, limit: int | None) -> int | None:
    """What a limit comes to in one window: what is left of a credit after its end is lost."""
    return 0 if limit is not None and has_lapsed(window) else limit


def counted_s(window: Window) -> int | None:
    """How many seconds a limit looks back over or lasts; None for one that never starts again."""
    rule = window.period.rule
    if isinstance(rule, Rolling):
        return rule.longest_s
    return None if isinstance(rule, Total) else (window.ends_ms - window.starts_ms) // 1000


def window_named(period: Period, window_id: str, *, timezone: ZoneInfo) -> Window:
    """The window whose id is `window_id`; ValueError, in one line, if the zone has none of that name."""
    try:
        for time_s in _instants_named(period, window_id, timezone):
            window = _compute(period, time_s, timezone)
            if window.id == window_id:
                return window
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"{window_id[:40]!r} is not the id of a window of period {period} in {timezone.key};"
        f" accepted is the form {_compute(period, _EXAMPLE_S, timezone).id}"
    )


def _instants_named(period: Period, window_id: str, timezone: ZoneInfo) -> tuple[int, ...]:
    match period.rule:
        case Total(lapses_on):
            return (0, _start_s(lapses_on, timezone)) if lapses_on else (0,)
        case Clock(length_s):
            starts_s = int(datetime.fromisoformat(window_id).timestamp())
            # A shift of the clock may have cut off the hour's beginning or its end, never both.
            return starts_s, starts_s + length_s - 1
        case Rolling():
            return (int(datetime.fromisoformat(window_id).timestamp()),)
    iso = f"{window_id}-1" if period is Period.WEEK else window_id + _FIRST_DAY.get(period, "")
    return (_start_s(date.fromisoformat(iso), timezone),)


def _compute(period: Period, time_s: int, timezone: ZoneInfo) -> Window:
    match period.rule:
        case Total(lapses_on):
            return _credit(period, lapses_on, time_s, timezone) if lapses_on else _TOTAL
        case Clock(length_s):
            return _clock(period, length_s, time_s, timezone)
        case Rolling() as rolling:
            return _bucket(period, rolling, time_s)
        case rule:
            return _days(period, rule, time_s, timezone)


def _days(period: Period, rule: Days | Weeks | Months | Years, time_s: int, timezone: ZoneInfo) -> Window:
    longest = timedelta(seconds=rule.longest_s)
    first = rule.first_day(datetime.fromtimestamp(time_s, timezone).date())
    # A loop, because in an evening that comes twice the local date lags behind its window.
    while (ends_s := _start_s(following := rule.first_day(first + longest), timezone)) <= time_s:
        first = following
    return Window(period, _id(period, first), _start_s(first, timezone) * 1000, ends_s * 1000)


def _start_s(day: date, timezone: ZoneInfo) -> int:
    """The first second whose local time has reached midnight of `day`."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=timezone)
    early, late = (int(midnight.replace(fold=fold).timestamp()) for fold in (0, 1))
    # Only for a midnight that the clock jumps over is `late` before `early` (PEP 495), with the jump between
    # them. Datetimes of the same zone compare by their local time.
    jump = range(late, early)
    skipped_s = bisect_left(jump, True, key=lambda s: datetime.fromtimestamp(s, timezone) >= midnight)
    return min(early, late) + skipped_s


def _id(period: Period, first: date) -> str:
    if period is Period.WEEK:
        year, week, _ = first.isocalendar()
        return f"{year}-W{week:02d}"
    return first.isoformat().removesuffix(_FIRST_DAY.get(period, ""))


def _clock(period: Period, length_s: int, time_s: int, timezone: ZoneInfo) -> Window:
    local = datetime.fromtimestamp(time_s, timezone)
    offset = local.utcoffset()

    def is_same_clock(at_s: int) -> bool:
        return datetime.fromtimestamp(at_s, timezone).utcoffset() == offset

    full_s = time_s - (local.minute * 60 + local.second) % length_s
    before, after = range(full_s, time_s), range(time_s, full_s + length_s)
    starts_s = full_s + bisect_left(before, True, key=is_same_clock)
    ends_s = time_s + bisect_left(after, True, key=lambda s: not is_same_clock(s))
    # Cut, not rounded: at the full hour another offset may have been in force.
    iso = local.isoformat()
    return Window(period, iso[: _CLOCK_CHARACTERS[period]] + iso[19:], starts_s * 1000, ends_s * 1000)


def _credit(period: Period, lapses_on: date, time_s: int, timezone: ZoneInfo) -> Window:
    lapses_s = _start_s(lapses_on, timezone)
    if time_s < lapses_s:
        return Window(period, f"until-{lapses_on}", 0, lapses_s * 1000)
    return Window(period, f"{LAPSED}{lapses_on}", lapses_s * 1000, FOREVER_MS)


def _bucket(period: Period, rule: Rolling, time_s: int) -> Window:
    starts_s = time_s - time_s % rule.bucket_s
    iso = datetime.fromtimestamp(starts_s, UTC).isoformat()
    return Window(period, f"{iso[:16]}Z", starts_s * 1000, (starts_s + rule.bucket_s) * 1000)
