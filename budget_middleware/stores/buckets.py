"""Which buckets a rolling limit counts at an instant."""

from functools import lru_cache
from zoneinfo import ZoneInfo

from budget_middleware.core.model import Counter
from budget_middleware.core.windows import Window, buckets_before, window_at

# No clock shifts buckets: any zone does.
_UTC = ZoneInfo("UTC")


def buckets_counted(series: Counter, now_ms: int) -> list[Counter]:
    """The buckets of which a rolling limit takes the sum."""
    account, period, _, unit = series
    current = window_at(period, time_ms=now_ms, timezone=_UTC)
    return [Counter(account, period, window, unit) for window in _windows_counted(current)]


@lru_cache(256)
def _windows_counted(current: Window) -> tuple[str, ...]:
    return tuple([window.id for window in (*buckets_before(current), current)])
