"""When operators are alerted: every rule by itself."""

import pytest

from budget_middleware.core.alerts.alerts import (
    AlertRule,
    Severity,
    gap_alert,
    pack_alert,
    threshold_alert,
    trial_alert,
    unpack_alert,
)
from budget_middleware.core.alerts.rules import (
    alerted_counter,
    audit_day,
    crossed,
    expected_by_the_end,
    is_old,
    passed,
    spends_too_fast,
    with_thresholds,
)
from budget_middleware.core.answers import Entry
from budget_middleware.core.limits.limits import Claim, LimitMode, Terms
from budget_middleware.core.limits.modes import Threshold
from budget_middleware.core.model import Counter, Reservation
from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import Period, window_at
from tests.stores.verbs import DAY_MS, HOUR_MS, START_MS, UTC

DAY = window_at(Period.DAY, time_ms=START_MS, timezone=UTC)
COUNTER = Counter("key:ab", Period.DAY, DAY.id)
THRESHOLDS = tuple(Threshold(figure, figure, 10, LimitMode.ENFORCE) for figure in (5, 8, 10))


def entry(before: int, after: int) -> Entry:
    return Entry(
        7, START_MS, Op.FINALIZE, "r", COUNTER, after - before, 0, spent=after, reserved=0, limit=10,
        status=Status.FINALIZED,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "figures"),
    [(0, 4, []), (0, 5, [5]), (4, 5, [5]), (5, 6, []), (0, 12, [5, 8, 10]), (7, 9, [8]), (9, 4, []), (5, 5, [])],
)
def test_a_threshold_is_crossed_on_the_way_up_by_the_entry_that_reaches_it(before, after, figures):
    assert [each.figure for each in crossed(entry(before, after), THRESHOLDS)] == figures


@pytest.mark.parametrize(("spent", "figures"), [(4, []), (5, [5]), (9, [5, 8]), (99, [5, 8, 10])])
def test_what_is_spent_says_what_was_passed(spent, figures):
    assert [each.figure for each in passed(spent, THRESHOLDS)] == figures


def test_limits_without_thresholds_get_those_of_the_setting():
    claim = Claim("key:ab", Period.DAY, 10, soft=Terms(8), shadow=Terms(5))
    found = with_thresholds(claim, (80, 100))
    assert (found.alerts, found.soft) == ((80, 100), Terms(8, (80, 100)))
    assert found.shadow == Terms(5)
    own = Claim("key:ab", Period.DAY, 10, soft=Terms(8, (10,)), alerts=(50,))
    assert with_thresholds(own, (80,)) == own
    unlimited = Claim("key:ab", Period.MONTH, None)
    assert with_thresholds(unlimited, (80,)) == unlimited


@pytest.mark.parametrize(
    ("spent", "part", "expected"),
    [(10, 2, 20), (10, 4, 40), (0, 2, None), (10, 20, 200), (10, 21, None)],
)
def test_a_forecast_goes_on_at_the_pace_of_the_window(spent, part, expected):
    now_ms = DAY.starts_ms + DAY_MS // part
    assert expected_by_the_end(spent, DAY, limit=10, now_ms=now_ms) == expected


@pytest.mark.parametrize("period", [Period.MINUTE, Period.TOTAL, Period("24h")])
def test_of_other_windows_nothing_is_expected(period):
    window = window_at(period, time_ms=START_MS, timezone=UTC)
    now_ms = window.starts_ms + (window.ends_ms - window.starts_ms) // 2
    assert expected_by_the_end(10, window, limit=10, now_ms=now_ms) is None


@pytest.mark.parametrize(
    ("expected", "spent", "was_too_fast", "is_too_fast"),
    [
        (1_100, 500, False, True),
        (1_099, 500, False, False),
        (1_000, 500, True, True),
        (950, 500, True, True),
        (949, 500, True, False),
        (5_000, 199, False, False),
        (5_000, 200, False, True),
        (5_000, 1_000, True, False),
        (None, 500, True, False),
    ],
)
def test_a_forecast_about_the_limit_does_not_chatter(expected, spent, was_too_fast, is_too_fast):
    assert spends_too_fast(expected, spent=spent, limit=1_000, was_too_fast=was_too_fast) is is_too_fast


@pytest.mark.parametrize(("age_s", "left_s", "expected"), [(3_599, 60, False), (3_600, 60, True), (3_600, 121, False)])
def test_a_hold_is_old_unless_it_was_given_more_time(age_s, left_s, expected):
    hold = Reservation(
        "r", State.PENDING, (), Amounts(1), created_ms=START_MS - age_s * 1000, deadline_ms=START_MS + left_s * 1000
    )
    assert is_old(hold, now_ms=START_MS, old_ms=HOUR_MS, lease_ms=60_000) is expected


def test_a_rolling_period_is_told_of_once_in_its_length():
    period = Period("24h")
    window = window_at(period, time_ms=START_MS, timezone=UTC)
    counter = Counter("key:ab", period, window.id)
    named, until_ms = alerted_counter(counter, window, START_MS)
    assert alerted_counter(counter, window, until_ms - 1)[0] == named
    assert alerted_counter(counter, window, until_ms)[0] != named
    assert alerted_counter(COUNTER, DAY, START_MS) == (COUNTER, DAY.ends_ms)


def test_an_audit_is_due_from_its_minute_on():
    three = DAY.starts_ms + 3 * HOUR_MS
    assert audit_day(three - 1, at_minute=180, timezone=UTC) is None
    assert audit_day(three, at_minute=180, timezone=UTC) == DAY.id


def test_an_alert_is_packed_and_read_again_whatever_a_newer_version_adds():
    alert = gap_alert("budget", "03", "2 bookings were dropped", seq=8, time_ms=START_MS)
    assert unpack_alert({**pack_alert(alert), "more": 1}) == alert
    assert "shard 03 of budget" in alert.summary
    assert trial_alert("budget", time_ms=1).rule is AlertRule.TEST


def test_the_id_follows_from_account_limit_threshold_and_window_alone():
    first = threshold_alert("budget", COUNTER, THRESHOLDS[0], spent=5, entry=entry(0, 5), time_ms=1)
    again = threshold_alert("budget", COUNTER, THRESHOLDS[0], spent=9, entry=None, time_ms=2)
    assert first.id == again.id
    assert again.summary.endswith("found late, since journal entries were missed")
    others = [
        threshold_alert("budget", COUNTER, THRESHOLDS[1], spent=9, entry=None, time_ms=2),
        threshold_alert("other", COUNTER, THRESHOLDS[0], spent=9, entry=None, time_ms=2),
        threshold_alert("budget", COUNTER._replace(window="x"), THRESHOLDS[0], spent=9, entry=None, time_ms=2),
        threshold_alert("budget", COUNTER, THRESHOLDS[0]._replace(limit=11), spent=9, entry=None, time_ms=2),
        threshold_alert("budget", COUNTER, THRESHOLDS[0]._replace(mode=LimitMode.SOFT), spent=9, entry=None, time_ms=2),
    ]
    assert len({first.id, *(each.id for each in others)}) == 6
    assert first.topic == others[0].topic
    full = threshold_alert(
        "budget", COUNTER, Threshold(10, 100, 10, LimitMode.ENFORCE), spent=10, entry=None, time_ms=1
    )
    assert (first.severity, full.severity) == (Severity.WARNING, Severity.ERROR)
