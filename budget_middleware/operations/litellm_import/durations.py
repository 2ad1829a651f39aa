"""Which period stands for LiteLLM's `budget_duration`.

LiteLLM (1.106) does not count from a budget's creation: `1d` and `24h` end at midnight, `7d` and `1w` with Sunday,
`30d` and `1mo` with the month, in the zone of `litellm_settings.timezone`. These are calendar periods here too. Any
other number of days or hours starts again at each reset, so that twice the budget can be spent around it; a rolling
period of that length is the closest, and never admits more.
"""

import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from budget_middleware.core.windows import Period, window_at
from budget_middleware.operations.litellm_import.values import MappedDuration

_WORDS: Final = {"hourly": "1h", "daily": "24h", "weekly": "7d", "monthly": "30d"}
_DURATION: Final = re.compile(r"([0-9]{1,9})(mo|[smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MONTH: Final = "LiteLLM resets it on the first of the month"
_CALENDAR: Final = {
    60: ("minute", "it lasts a minute"),
    3_600: ("hour", "LiteLLM resets it at the full hour"),
    86_400: ("day", "LiteLLM resets it at midnight"),
    604_800: ("week", "LiteLLM resets it on Monday"),
}


def map_duration(duration: str) -> MappedDuration:
    """The period of a duration; ValueError, in words for the list of what is not mapped, where there is none."""
    if not duration:
        return MappedDuration("no duration", "total", "LiteLLM never resets it")
    text = _WORDS.get(duration.lower(), duration)
    parsed = _DURATION.fullmatch(text)
    if parsed is None:
        raise ValueError(f"{duration[:40]!r} is no duration of LiteLLM's, which are such as 1h, 24h, 7d, 30d and 1mo")
    count, unit = int(parsed[1]), parsed[2]
    if count == 0:
        raise ValueError(f"{duration!r} has ended as soon as it begins, so it limits nothing")
    if text in ("30d", "1mo"):
        return MappedDuration(duration, "month", _MONTH)
    if unit == "mo":
        raise ValueError(f"{duration!r}: LiteLLM resets by one month only; choose month, or year for 12")
    return _mapped_seconds(duration, count * _SECONDS[unit])


def _mapped_seconds(duration: str, seconds: int) -> MappedDuration:
    if seconds in _CALENDAR:
        period, why = _CALENDAR[seconds]
        return MappedDuration(duration, period, why)
    for unit, length in (("d", 86_400), ("h", 3_600)):
        if seconds % length == 0:
            why = "rolling, since no calendar period is that long; it never admits more than LiteLLM"
            return MappedDuration(duration, f"{seconds // length}{unit}", why)
    raise ValueError(f"{duration!r} is no whole hour; choose minute, hour, or a rolling period such as 1h")


def window_of_reset(period: str, reset_at: datetime, *, zone: ZoneInfo) -> str | None:
    """The id of the calendar window that ends at LiteLLM's next reset; None if none does."""
    if period not in ("hour", "day", "week", "month"):
        return None
    reset_ms = int(reset_at.timestamp() * 1_000)
    window = window_at(Period(period), time_ms=reset_ms - 1, timezone=zone)
    return window.id if window.ends_ms == reset_ms else None
