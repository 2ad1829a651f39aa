"""Periods: how often a limit starts again, and the texts that name them.

The plain ones follow the calendar of the ledger's time zone. Anchored ones do too, from another day on: `month@15`,
`week@sun`, `year@04-01`. A credit, `total@2027-03-31`, lapses when that day begins. Rolling ones, `24h` or `30d`, look
back over so much time in buckets of a sixtieth. What has the same windows has one text: `month@1` is `month`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import ClassVar

SHORT_WINDOW_S = 1_800
"""Counters of windows that are shorter are not kept for long: there are too many."""
ROLLING_BUCKETS = 60
"""A rolling window slides by one bucket at a time, so it covers at most so small a part of it too much."""

_ROLLING_DAYS_MAX = 366
ACCEPTED_PERIODS = (
    "minute, hour, day, week, month, year, total; month@1 to month@31, week@mon to week@sun, year@MM-DD,"
    f" total@YYYY-MM-DD; 1h to {24 * _ROLLING_DAYS_MAX}h, 1d to {_ROLLING_DAYS_MAX}d"
)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CREDITS = range(1970, 9999)
_DAY_S = 86_400
_FOREVER_S = 1 << 40
_INTERNED_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Clock:
    """The minutes or the hours of the local clock."""

    longest_s: int


@dataclass(frozen=True, slots=True)
class Days:
    """Each day."""

    longest_s: ClassVar[int] = _DAY_S

    def first_day(self, day: date) -> date:
        """The first day of the window that `day` is in."""
        return day


@dataclass(frozen=True, slots=True)
class Weeks:
    """Seven days from one day of the week on; 0 is Monday."""

    weekday: int
    longest_s: ClassVar[int] = 7 * _DAY_S

    def first_day(self, day: date) -> date:
        return day - timedelta(days=(day.weekday() - self.weekday) % 7)


@dataclass(frozen=True, slots=True)
class Months:
    """From one day of the month on, or from the last day of a month that has no such day."""

    day: int
    longest_s: ClassVar[int] = 31 * _DAY_S

    def first_day(self, day: date) -> date:
        first = _day_or_last(day.year, day.month, self.day)
        if day < first:
            last_month = day.replace(day=1) - timedelta(days=1)
            first = _day_or_last(last_month.year, last_month.month, self.day)
        return first


@dataclass(frozen=True, slots=True)
class Years:
    """From one day of the year on; from 28 February where 29 February is missing."""

    month: int
    day: int
    longest_s: ClassVar[int] = 366 * _DAY_S

    def first_day(self, day: date) -> date:
        first = _day_or_last(day.year, self.month, self.day)
        return first if first <= day else _day_or_last(day.year - 1, self.month, self.day)


@dataclass(frozen=True, slots=True)
class Total:
    """All time, or the time until a day begins and all time since."""

    lapses_on: date | None
    longest_s: ClassVar[int] = _FOREVER_S


@dataclass(frozen=True, slots=True)
class Rolling:
    """So much time before now, wherever the calendar is."""

    longest_s: int

    @property
    def bucket_s(self) -> int:
        return self.longest_s // ROLLING_BUCKETS


PeriodOrder = tuple[int, bool, int, str]
Rule = Clock | Days | Weeks | Months | Years | Total | Rolling


def _day_or_last(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        # No calendar month lacks its 28th: at most three days are missing.
        return _day_or_last(year, month, day - 1)


class Period(str):
    """How often a limit starts again; the plain ones are one object each, so that ``is`` compares with them.

    ``is_short``: its windows are minutes, or the buckets of up to 29 hours.
    """

    __slots__ = ("is_short", "order", "rule")

    rule: Rule
    order: PeriodOrder
    is_short: bool

    MINUTE: ClassVar["Period"]
    HOUR: ClassVar["Period"]
    DAY: ClassVar["Period"]
    WEEK: ClassVar["Period"]
    MONTH: ClassVar["Period"]
    YEAR: ClassVar["Period"]
    TOTAL: ClassVar["Period"]

    def __new__(cls, text: str) -> "Period":  # noqa: PYI034 - a final type
        """ValueError, in one line, for what is no period."""
        return _plain.get(text) or _period(text)

    def __reduce__(self) -> tuple[type["Period"], tuple[str]]:
        return Period, (str(self),)


def period_order(period: Period) -> PeriodOrder:
    """Sorts periods, the shortest first."""
    return period.order


def is_rolling(period: Period) -> bool:
    """Whether a limit looks back over so much time: its windows are buckets of which it takes the sum."""
    return isinstance(period.rule, Rolling)


def _made(text: str, rule: Rule) -> Period:
    period = str.__new__(Period, text)
    period.rule = rule
    period.is_short = (rule.bucket_s if isinstance(rule, Rolling) else rule.longest_s) < SHORT_WINDOW_S
    period.order = rule.longest_s, isinstance(rule, Rolling), len(text), text
    return period


def _plain_periods() -> Iterator[Period]:
    rules: dict[str, Rule] = {
        "minute": Clock(60),
        "hour": Clock(3600),
        "day": Days(),
        "week": Weeks(0),
        "month": Months(1),
        "year": Years(1, 1),
        "total": Total(None),
    }
    for name, rule in rules.items():
        period = _made(name, rule)
        setattr(Period, name.upper(), period)
        yield period


PERIODS = tuple(_plain_periods())
"""Those of the plain calendar, shortest first."""
_plain: dict[str, Period] = {str(period): period for period in PERIODS}
_by_rule: dict[Rule, Period] = {period.rule: period for period in PERIODS}


# Bounded, for dates have no end; what is pushed out is made again, equal but another object.
@lru_cache(_INTERNED_MAX)
def _period(text: str) -> Period:
    try:
        rule = _rule(text)
        return _by_rule.get(rule) or _made(_canonical(text, rule), rule)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a period; accepted are {ACCEPTED_PERIODS}") from None


def _rule(text: str) -> Rule:
    kind, _, anchor = text.partition("@")
    if kind == "month" and re.fullmatch("[1-9][0-9]?", anchor):
        return Months(date(2000, 1, int(anchor)).day)
    if kind == "week":
        return Weeks(_WEEKDAYS.index(anchor))
    if kind == "year" and re.fullmatch("[0-9]{2}-[0-9]{2}", anchor):
        day = date.fromisoformat(f"2000-{anchor}")
        return Years(day.month, day.day)
    if kind == "total" and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", anchor):
        day = date.fromisoformat(anchor)
        if day.year in _CREDITS and day != date(1970, 1, 1):
            return Total(day)
    if re.fullmatch("[1-9][0-9]{0,3}[hd]", text):
        length_s = int(text[:-1]) * (3600 if text[-1] == "h" else _DAY_S)
        if length_s <= _ROLLING_DAYS_MAX * _DAY_S:
            return Rolling(length_s)
    raise ValueError


def _canonical(text: str, rule: Rule) -> str:
    if isinstance(rule, Rolling):
        days, rest_s = divmod(rule.longest_s, _DAY_S)
        # One day stays in hours: `24h` cannot be taken for the calendar's day.
        return f"{days}d" if days > 1 and not rest_s else f"{rule.longest_s // 3600}h"
    return str(text)
