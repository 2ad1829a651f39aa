"""Periods in sentences: `per month from the 15th`, `for the last 24 hours`."""

from typing import Final

from budget_middleware.core.periods import Clock, Days, Months, Period, Rolling, Total, Weeks, Years
from budget_middleware.core.windows import LAPSED

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Not those of `calendar`, which speak the language of the machine.
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def per_period(period: Period, window_id: str = "") -> str:
    """What a budget is for, whichever window it is; only where a credit has lapsed does `window_id` matter."""
    return _irregular(period, window_id) or f"per {_each(period)}"


def for_window(period: Period, window_id: str) -> str:
    """What a budget is for, and in which window."""
    if irregular := _irregular(period, window_id):
        return irregular
    is_plain = "@" not in period
    return f"for {period} {window_id}" if is_plain else f"for the {period.partition('@')[0]} from {window_id}"


def _irregular(period: Period, window_id: str) -> str:
    match period.rule:
        case Total(None):
            return "for all time"
        case Total(day):
            return f"that lapsed on {day}" if window_id.startswith(LAPSED) else f"until {day}"
        case Rolling():
            number, unit = int(period[:-1]), "hour" if period.endswith("h") else "day"
            return f"for the last {unit}" if number == 1 else f"for the last {number} {unit}s"
        case _:
            return ""


def _each(period: Period) -> str:
    if "@" not in period:
        return period
    match period.rule:
        case Weeks(weekday):
            return f"week from {_WEEKDAYS[weekday]}"
        case Months(day):
            return f"month from the {_ordinal(day)}"
        case Years(month, day):
            return f"year from {day} {_MONTHS[month - 1]}"
        case Clock() | Days() | Total() | Rolling():
            return period


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}th" if number in (11, 12, 13) else f"{number}{ending}"
