"""Rolling periods: buckets of a sixtieth in UTC, of which a limit counts the current one and the 60 before it."""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.windows import (
    ROLLING_BUCKETS,
    Period,
    Window,
    counted_s,
    counted_windows,
    previous_window,
    window_at,
    window_named,
)

HOUR_MS = 3_600_000
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
LENGTHS_MS = st.integers(1, 8784).map(lambda hours: (f"{hours}h", hours * HOUR_MS)) | st.integers(1, 366).map(
    lambda days: (f"{days}d", days * 24 * HOUR_MS)
)


def ms(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp()) * 1000


@pytest.mark.parametrize(
    ("text", "time", "window_id", "starts", "ends"),
    [
        ("1h", "2026-11-29T14:31:59Z", "2026-11-29T14:31Z", "2026-11-29T14:31Z", "2026-11-29T14:32Z"),
        ("24h", "2026-11-29T14:31:59Z", "2026-11-29T14:24Z", "2026-11-29T14:24Z", "2026-11-29T14:48Z"),
        ("24h", "2026-11-29T00:00Z", "2026-11-29T00:00Z", "2026-11-29T00:00Z", "2026-11-29T00:24Z"),
        ("30d", "2026-11-29T14:31:59Z", "2026-11-29T12:00Z", "2026-11-29T12:00Z", "2026-11-30T00:00Z"),
        ("7d", "1970-01-01T02:47:59Z", "1970-01-01T00:00Z", "1970-01-01T00:00Z", "1970-01-01T02:48Z"),
    ],
)
def test_a_bucket_is_a_sixtieth_and_counted_in_utc(
    text: str, time: str, window_id: str, starts: str, ends: str
) -> None:
    window = Window(Period(text), window_id, ms(starts), ms(ends))
    for timezone in (ZoneInfo("UTC"), LORD_HOWE):
        assert window_at(Period(text), time_ms=ms(time), timezone=timezone) == window
        assert window_named(Period(text), window_id, timezone=timezone) == window


@given(LENGTHS_MS, st.integers(ms("1972-02-01T00:00Z"), ms("9998-12-30T00:00Z")))
def test_a_limit_counts_the_length_and_less_than_one_bucket_more(length: tuple[str, int], time_ms: int) -> None:
    text, length_ms = length
    current = window_at(Period(text), time_ms=time_ms, timezone=LORD_HOWE)
    counted = counted_windows(current)
    assert len(counted) == ROLLING_BUCKETS + 1
    for earlier, later in pairwise(counted):
        assert earlier.ends_ms == later.starts_ms
        assert previous_window(later, timezone=LORD_HOWE) == earlier
    for bucket in (counted[0], counted[30]):
        assert window_named(Period(text), bucket.id, timezone=LORD_HOWE) == bucket
        assert bucket.ends_ms - bucket.starts_ms == length_ms // 60
    covered_ms = time_ms - counted[0].starts_ms
    assert length_ms <= covered_ms < length_ms + length_ms // 60


def test_no_bucket_begins_before_1970() -> None:
    first, third = (window_at(Period("1h"), time_ms=at_ms, timezone=LORD_HOWE) for at_ms in (0, 120_000))
    assert counted_windows(first) == (first,)
    assert [bucket.id for bucket in counted_windows(third)] == [f"1970-01-01T00:0{minute}Z" for minute in range(3)]


@pytest.mark.parametrize("text", ["minute", "day", "month@15", "total", "total@2027-03-31"])
def test_other_periods_count_their_window_alone(text: str) -> None:
    window = window_at(Period(text), time_ms=ms("2026-11-29T14:31Z"), timezone=LORD_HOWE)
    assert counted_windows(window) == (window,)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("minute", 60), ("day", 86_400), ("1h", 3_600), ("30d", 30 * 86_400), ("total", None), ("total@2027-03-31", None)],
)
def test_a_limit_counts_so_many_seconds(text: str, seconds: int | None) -> None:
    assert counted_s(window_at(Period(text), time_ms=ms("2026-11-29T14:31Z"), timezone=LORD_HOWE)) == seconds
