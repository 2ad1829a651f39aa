"""What a pace leads to: exact to the unit, and silent where nothing can be told."""

import pytest

from budget_middleware.core.forecast import Forecast, forecast


def told(spent, limit, now, *, starts=0, ends=100):
    return forecast(spent=spent, limit=limit, starts_ms=starts, ends_ms=ends, now_ms=now)


@pytest.mark.parametrize(
    ("spent", "limit", "now", "expected"),
    [
        (5, 10, 50, Forecast(10, None)),
        (5, 9, 50, Forecast(10, 90)),
        (5, 2, 50, Forecast(10, 20)),
        (5, 0, 50, Forecast(10, 0)),
        (5, None, 50, Forecast(10, None)),
        (1, 1, 3, Forecast(33, 3)),
        (5, 5, 100, Forecast(5, None)),
    ],
)
def test_the_pace_so_far_goes_on(spent, limit, now, expected):
    assert told(spent, limit, now) == expected


def test_a_window_that_began_late_counts_from_its_beginning():
    assert told(5, 6, 1_050, starts=1_000, ends=1_100) == Forecast(10, 1_060)


@pytest.mark.parametrize(("spent", "now"), [(0, 50), (-1, 50), (5, 0), (5, -1), (5, 1)])
def test_nothing_is_told_too_early_or_of_nothing(spent, now):
    assert told(spent, 1, now) is None
