"""Calendar windows: which hour, day, week, month or year of a time zone an instant belongs to.

The windows of one period partition time, whatever a zone does to its clocks:

- A day starts at the first instant whose local time has reached its midnight. Where a clock jumps over
  midnight that is the jump; a day that is skipped whole has no window; when a clock goes back over midnight,
  the evening that comes twice belongs to the new day. Weeks, months and years start with their first day.
- An hour is an hour of the local clock under one UTC offset, so the hour that a clock shows twice is two
  windows, and a shift of 30 minutes makes short ones. Its id carries the offset.
"""

from bisect import bisect_left
from datetime import date, datetime, timedelta
from typing import ClassVar, NamedTuple
from zoneinfo import ZoneInfo

FOREVER_MS = 253_402_300_800_000
"""Start of the year 10000 in UTC, in milliseconds since 1970."""


class Period(str):
    """How often a limit starts again: one object for each text, so that ``is`` compares them."""

    __slots__ = ()

    HOUR: ClassVar["Period"]
    DAY: ClassVar["Period"]
    WEEK: ClassVar["Period"]
    MONTH: ClassVar["Period"]
    YEAR: ClassVar["Period"]
    TOTAL: ClassVar["Period"]

    def __new__(cls, text: str) -> "Period":  # noqa: PYI034 - a final type, one object a text
        """ValueError, in one line, for what is no period."""
        known = _periods.get(text)
        if known is None:
            raise ValueError(f"{text[:40]!r} is not a period; accepted are {', '.join(PERIODS)}")
        return known

    def __reduce__(self) -> tuple[type["Period"], tuple[str]]:
        return Period, (str(self),)


def _plain_period(text: str) -> Period:
    period = _periods[text] = str.__new__(Period, text)
    setattr(Period, text.upper(), period)
    return period


_periods: dict[str, Period] = {}
PERIODS = tuple(map(_plain_period, ("hour", "day", "week", "month", "year", "total")))
"""Those of the plain calendar, shortest first."""


class Window(NamedTuple):
    """One instance of a period: every instant with `starts_ms <= time < ends_ms` (ms since 1970, UTC)."""

    period: Period
    id: str
    starts_ms: int
    ends_ms: int


_TOTAL = Window(Period.TOTAL, "total", 0, FOREVER_MS)
_LONGEST_DAYS = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31, Period.YEAR: 366}
# What makes the id of a window the ISO date of its first day.
_FIRST_DAY = {Period.DAY: "", Period.WEEK: "-1", Period.MONTH: "-01", Period.YEAR: "-01-01"}
_EXAMPLES = {
    Period.HOUR: "2026-11-24T05+01:00",
    Period.DAY: "2026-11-24",
    Period.WEEK: "2026-W48",
    Period.MONTH: "2026-11",
    Period.YEAR: "2026",
    Period.TOTAL: "total",
}
# The window asked for last: nearly every request falls into it. A lost race costs one computation.
_last: dict[tuple[Period, ZoneInfo], Window] = {}


def window_at(period: Period, *, time_ms: int, timezone: ZoneInfo) -> Window:
    """The window of `period` that contains `time_ms` (ms since 1970), from 1970 to the year 9998."""
    window = _last.get((period, timezone))
    if window is None or not window.starts_ms <= time_ms < window.ends_ms:
        window = _last[period, timezone] = _compute(period, time_ms // 1000, timezone)
    return window


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
        f" accepted is the form {_EXAMPLES[period]}"
    )


def _instants_named(period: Period, window_id: str, timezone: ZoneInfo) -> tuple[int, ...]:
    if period is Period.TOTAL:
        return (0,)
    if period is Period.HOUR:
        starts_s = int(datetime.fromisoformat(window_id).timestamp())
        # A shift of the clock may have cut off the hour's beginning or its end, never both.
        return starts_s, starts_s + 3599
    return (_start_s(date.fromisoformat(window_id + _FIRST_DAY[period]), timezone),)


def _compute(period: Period, time_s: int, timezone: ZoneInfo) -> Window:
    if period is Period.TOTAL:
        return _TOTAL
    if period is Period.HOUR:
        return _hour(time_s, timezone)
    first = _first_day(period, datetime.fromtimestamp(time_s, timezone).date())
    # A loop, because in an evening that comes twice the local date lags behind its window.
    while (ends_s := _start_s(following := _next_first_day(period, first), timezone)) <= time_s:
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


def _first_day(period: Period, day: date) -> date:
    if period is Period.YEAR:
        return day.replace(month=1, day=1)
    if period is Period.MONTH:
        return day.replace(day=1)
    if period is Period.WEEK:
        return day - timedelta(days=day.weekday())
    return day


def _next_first_day(period: Period, first: date) -> date:
    return _first_day(period, first + timedelta(days=_LONGEST_DAYS[period]))


def _id(period: Period, first: date) -> str:
    if period is Period.WEEK:
        year, week, _ = first.isocalendar()
        return f"{year}-W{week:02d}"
    iso = first.isoformat()
    return iso.removesuffix(_FIRST_DAY[period])


def _hour(time_s: int, timezone: ZoneInfo) -> Window:
    local = datetime.fromtimestamp(time_s, timezone)
    offset = local.utcoffset()

    def is_same_clock(at_s: int) -> bool:
        return datetime.fromtimestamp(at_s, timezone).utcoffset() == offset

    full_s = time_s - local.minute * 60 - local.second
    before, after = range(full_s, time_s), range(time_s, full_s + 3600)
    starts_s = full_s + bisect_left(before, True, key=is_same_clock)
    ends_s = time_s + bisect_left(after, True, key=lambda s: not is_same_clock(s))
    # Cut, not rounded: at the full hour another offset may have been in force.
    iso = local.isoformat()
    return Window(Period.HOUR, iso[:13] + iso[19:], starts_s * 1000, ends_s * 1000)
