import pytest

from budget_middleware.core.limits.period_words import for_window, per_period
from budget_middleware.core.periods import Period


@pytest.mark.parametrize(
    ("period", "window_id", "per", "in_window"),
    [
        ("minute", "2026-11-24T05:07+00:00", "per minute", "for minute 2026-11-24T05:07+00:00"),
        ("month", "2026-11", "per month", "for month 2026-11"),
        ("month@2", "2026-11-02", "per month from the 2nd", "for the month from 2026-11-02"),
        ("month@11", "2026-11-11", "per month from the 11th", "for the month from 2026-11-11"),
        ("month@15", "2026-11-15", "per month from the 15th", "for the month from 2026-11-15"),
        ("month@21", "2026-11-21", "per month from the 21st", "for the month from 2026-11-21"),
        ("month@23", "2026-11-23", "per month from the 23rd", "for the month from 2026-11-23"),
        ("week@sun", "2026-11-29", "per week from Sunday", "for the week from 2026-11-29"),
        ("year@04-01", "2026-04-01", "per year from 1 April", "for the year from 2026-04-01"),
        ("total", "total", "for all time", "for all time"),
        ("total@2027-03-31", "until-2027-03-31", "until 2027-03-31", "until 2027-03-31"),
        ("total@2027-03-31", "since-2027-03-31", "that lapsed on 2027-03-31", "that lapsed on 2027-03-31"),
        ("1h", "2026-11-29T14:24Z", "for the last hour", "for the last hour"),
        ("24h", "2026-11-29T14:24Z", "for the last 24 hours", "for the last 24 hours"),
        ("30d", "2026-11-29T12:00Z", "for the last 30 days", "for the last 30 days"),
    ],
)
def test_periods_in_sentences(period: str, window_id: str, per: str, in_window: str) -> None:
    assert per_period(Period(period), window_id) == per
    assert for_window(Period(period), window_id) == in_window
