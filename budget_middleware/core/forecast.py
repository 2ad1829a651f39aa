"""Where spending leads: what a counter will have spent at the end of its window, at the pace that it has had so far."""

from typing import NamedTuple

_TOO_EARLY_PARTS = 50
"""Before a fiftieth of its window one request decides the pace: that is half an hour of a day, 15 hours of a month."""


class Forecast(NamedTuple):
    """``reaches_limit_ms`` is when the limit will be spent, or was at that pace; None where the window ends before."""

    spent_at_end: int
    reaches_limit_ms: int | None


def forecast(*, spent: int, limit: int | None, starts_ms: int, ends_ms: int, now_ms: int) -> Forecast | None:
    """At an even pace since the window began. None where it is too early to tell, or where nothing was spent."""
    passed_ms, lasts_ms = now_ms - starts_ms, ends_ms - starts_ms
    if spent <= 0 or passed_ms <= 0 or passed_ms * _TOO_EARLY_PARTS < lasts_ms:
        return None
    at_end = spent * lasts_ms // passed_ms
    if limit is None or at_end <= limit:
        return Forecast(at_end, None)
    return Forecast(at_end, starts_ms + max(0, limit) * passed_ms // spent)
