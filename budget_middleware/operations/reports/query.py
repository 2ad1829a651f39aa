"""What a report is asked for: by which dimensions, per which period, over which span of time."""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from budget_middleware.core.payers.accounts import GLOBAL, KIND
from budget_middleware.core.periods import Clock, Days, Months, Period, Weeks, Years
from budget_middleware.core.windows import FOREVER_MS, window_at, window_named

MODEL = "model"
PROVIDER = "provider"
"""Of the bill, where all other dimensions are kinds of accounts."""

DIMENSIONS_MAX = 6

_DAYS_BACK = re.compile(r"([1-9][0-9]{0,3})d")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_ACCEPTED_TIMES = "2026-11 (a month), 2026-11-01 (a day), 2026-11-01T12:00, 7d (the last 7 days, with today)"


@dataclass(frozen=True, slots=True)
class Moments:
    """The first and the last moment as an operator writes them; None: since this month began, until now."""

    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """``by`` are `model`, `provider` and kinds of accounts; without ``per`` all time is one window."""

    by: tuple[str, ...] = ()
    per: Period | None = None
    moments: Moments = Moments()


@dataclass(frozen=True, slots=True)
class Span:
    """``since_ms <= time < until_ms``"""

    since_ms: int
    until_ms: int


def parse_by(text: str) -> tuple[str, ...]:
    """ValueError, in one line, for what is no dimension."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        kinds = name.split("+")
        if not all(KIND.fullmatch(kind) for kind in kinds) or (GLOBAL in kinds and len(kinds) > 1):
            raise ValueError(
                f"{name[:40]!r} is nothing to report by; accepted are {MODEL}, {PROVIDER} and kinds of accounts such as"
                " team, user, key, tag or key+model, with commas between them"
            )
    named = tuple(dict.fromkeys("+".join(sorted(name.split("+"))) for name in names))
    if len(named) > DIMENSIONS_MAX:
        raise ValueError(f"{len(named)} dimensions are too many; accepted are {DIMENSIONS_MAX}")
    return named


def parse_per(text: str) -> Period:
    """ValueError, in one line, for what is no period of the calendar."""
    period = Period(text)
    rule = period.rule
    if not isinstance(rule, Days | Weeks | Months | Years) and not (isinstance(rule, Clock) and rule.longest_s > 60):
        raise ValueError(
            f"{text[:40]!r} is nothing to report per; accepted are hour, day, week, month, year, and such as week@sun,"
            " month@15, year@04-01"
        )
    return period


def span_of(moments: Moments, *, now_ms: int, timezone: ZoneInfo) -> Span:
    """The span in a time zone: a day or a month that ends it is in it. ValueError, in one line, for what is none."""
    this_month = window_at(Period.MONTH, time_ms=now_ms, timezone=timezone)
    since_ms = this_month.starts_ms if moments.since is None else _moment(moments.since, now_ms, timezone)[0]
    # What was booked this very moment is meant, and in windows that have only begun.
    until_ms = FOREVER_MS if moments.until is None else _moment(moments.until, now_ms, timezone)[1]
    if until_ms <= since_ms:
        raise ValueError(f"nothing is since {moments.since or 'this month began'} and until {moments.until}")
    return Span(since_ms, until_ms)


def _moment(text: str, now_ms: int, timezone: ZoneInfo) -> tuple[int, int]:
    """When what is named begins, and when it is over; the same for a moment."""
    try:
        if found := _DAYS_BACK.fullmatch(text):
            today = datetime.fromtimestamp(now_ms // 1000, timezone).date()
            first = today - timedelta(days=int(found[1]) - 1)
            return _day(first, timezone), now_ms
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text)
            return _day(day, timezone), _day(day + timedelta(days=1), timezone)
        if _MONTH.fullmatch(text):
            month = window_named(Period.MONTH, text, timezone=timezone)
            return month.starts_ms, month.ends_ms
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone)
        ms = int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no time; accepted are {_ACCEPTED_TIMES}") from None
    return ms, ms


def _day(day: date, timezone: ZoneInfo) -> int:
    return window_named(Period.DAY, day.isoformat(), timezone=timezone).starts_ms
