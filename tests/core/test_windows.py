from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budget_middleware.core.periods import Total
from budget_middleware.core.windows import (
    FOREVER_MS,
    PERIODS,
    Period,
    Window,
    has_lapsed,
    previous_window,
    window_at,
    window_named,
)

HOUR_MS = 3_600_000
BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
SAMOA = ZoneInfo("Pacific/Apia")
# Whole and broken offsets, both hemispheres, midnights that do not exist (Sao Paulo, Beirut, Cairo) or come
# twice (St Johns turned back at 00:01), a skipped day (Apia, Kwajalein), a shift of 30 minutes (Lord Howe) or
# of two hours (Troll), and an offset with seconds (Monrovia until 1972).
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Asia/Tokyo",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Caracas",
    "Asia/Beirut",
    "Africa/Cairo",
    "Africa/Monrovia",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Pacific/Kiritimati",
]
ANCHORED = ["month@2", "month@15", "month@30", "month@31", "week@fri", "week@sun", "year@02-29", "year@04-01"]
CREDITS = ["total@1999-12-31", "total@2011-12-30", "total@2027-03-31"]
ROLLING = ["1h", "7h", "24h", "7d", "30d", "366d"]
ALL_PERIODS = [*PERIODS, *map(Period, (*ANCHORED, *CREDITS, *ROLLING))]


def ms(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp()) * 1000


def at(period: Period, iso: str, timezone: ZoneInfo) -> Window:
    return window_at(period, time_ms=ms(iso), timezone=timezone)


def test_a_day_in_tokyo_turns_at_15_utc() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    turn_ms = ms("2026-11-24T15:00:00Z")
    assert window_at(Period.DAY, time_ms=turn_ms - 1, timezone=tokyo).id == "2026-11-24"
    assert window_at(Period.DAY, time_ms=turn_ms, timezone=tokyo) == Window(
        Period.DAY, "2026-11-25", turn_ms, turn_ms + 24 * HOUR_MS
    )


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_is_as_long_as_the_clock_makes_it(day: str, hours: int) -> None:
    window = at(Period.DAY, f"{day}T12:00:00+01:00", BERLIN)
    assert window.id == day
    assert window.ends_ms - window.starts_ms == hours * HOUR_MS


@pytest.mark.parametrize(
    ("period", "time", "window_id", "starts", "ends"),
    [
        (Period.DAY, "2028-02-29T23:59:59Z", "2028-02-29", "2028-02-29T00:00Z", "2028-03-01T00:00Z"),
        (Period.MONTH, "2028-02-29T23:59:59Z", "2028-02", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
        (Period.MONTH, "2026-12-31T23:59:59Z", "2026-12", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        (Period.YEAR, "2028-12-31T23:59:59Z", "2028", "2028-01-01T00:00Z", "2029-01-01T00:00Z"),
        (Period.WEEK, "2026-11-24T05:00:00Z", "2026-W48", "2026-11-23T00:00Z", "2026-11-30T00:00Z"),
        (Period.WEEK, "2027-01-01T00:00:00Z", "2026-W53", "2026-12-28T00:00Z", "2027-01-04T00:00Z"),
        (Period.WEEK, "2024-12-30T00:00:00Z", "2025-W01", "2024-12-30T00:00Z", "2025-01-06T00:00Z"),
        (
            Period.HOUR,
            "2026-11-24T05:59:59Z",
            "2026-11-24T05+00:00",
            "2026-11-24T05:00Z",
            "2026-11-24T06:00Z",
        ),
    ],
)
def test_windows_of_the_calendar(period: Period, time: str, window_id: str, starts: str, ends: str) -> None:
    assert at(period, time, ZoneInfo("UTC")) == Window(period, window_id, ms(starts), ms(ends))


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    first, second = (at(Period.HOUR, f"2026-10-25T0{hour}:30:00Z", BERLIN) for hour in (0, 1))
    assert (first.id, second.id) == ("2026-10-25T02+02:00", "2026-10-25T02+01:00")
    assert first.ends_ms == second.starts_ms == first.starts_ms + HOUR_MS


@pytest.mark.parametrize(
    ("time", "window_id", "starts", "ends"),
    [
        ("2026-04-04T14:59Z", "2026-04-05T01+11:00", "2026-04-04T14:00Z", "2026-04-04T15:00Z"),
        ("2026-04-04T15:00Z", "2026-04-05T01+10:30", "2026-04-04T15:00Z", "2026-04-04T15:30Z"),
        ("2026-10-03T15:30Z", "2026-10-04T02+11:00", "2026-10-03T15:30Z", "2026-10-03T16:00Z"),
    ],
)
def test_a_shift_of_half_an_hour_makes_short_hours(time: str, window_id: str, starts: str, ends: str) -> None:
    window = Window(Period.HOUR, window_id, ms(starts), ms(ends))
    assert at(Period.HOUR, time, LORD_HOWE) == window
    assert window_named(Period.HOUR, window_id, timezone=LORD_HOWE) == window


@pytest.mark.parametrize(
    ("zone", "time", "window_id", "starts", "ends"),
    [
        # The clock jumps from 00:00 to 01:00.
        ("America/Sao_Paulo", "2018-11-04T12Z", "2018-11-04", "2018-11-04T03:00Z", "2018-11-05T02:00Z"),
        ("Asia/Beirut", "2026-03-29T12Z", "2026-03-29", "2026-03-28T22:00Z", "2026-03-29T21:00Z"),
        # At 00:01 the clock goes back to 23:01: that evening belongs to the new day both times.
        ("America/St_Johns", "2010-11-07T02:45Z", "2010-11-07", "2010-11-07T02:30Z", "2010-11-08T03:30Z"),
        ("America/St_Johns", "2010-11-07T02:29Z", "2010-11-06", "2010-11-06T02:30Z", "2010-11-07T02:30Z"),
        # The clock jumps from the end of the 29th to the 31st.
        ("Pacific/Apia", "2011-12-30T09:59Z", "2011-12-29", "2011-12-29T10:00Z", "2011-12-30T10:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00Z", "2011-12-31", "2011-12-30T10:00Z", "2011-12-31T10:00Z"),
        # The clock jumps from 23:30 to 00:30 of the next day.
        ("America/Toronto", "1919-03-31T12Z", "1919-03-31", "1919-03-31T04:30Z", "1919-04-01T04:00Z"),
    ],
)
def test_days_whose_midnight_is_missing_or_comes_twice(
    zone: str, time: str, window_id: str, starts: str, ends: str
) -> None:
    window = Window(Period.DAY, window_id, ms(starts), ms(ends))
    assert at(Period.DAY, time, ZoneInfo(zone)) == window
    assert window_named(Period.DAY, window_id, timezone=ZoneInfo(zone)) == window


def test_total_never_ends() -> None:
    assert at(Period.TOTAL, "2026-11-24T05:00Z", BERLIN) == Window(Period.TOTAL, "total", 0, FOREVER_MS)
    assert datetime.fromtimestamp(FOREVER_MS // 1000 - 1, UTC).isoformat() == "9999-12-31T23:59:59+00:00"


@pytest.mark.parametrize(
    ("text", "zone", "starts"),
    [
        # A month that is too short starts at its last day, and so does the year of a leap day.
        ("month@31", "UTC", ["2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31"]),
        ("month@30", "UTC", ["2026-12-30", "2027-01-30", "2027-02-28", "2027-03-30", "2027-04-30"]),
        ("month@15", "UTC", ["2026-11-15", "2026-12-15", "2027-01-15"]),
        ("year@02-29", "UTC", ["2026-02-28", "2027-02-28", "2028-02-29", "2029-02-28"]),
        ("year@04-01", "UTC", ["2026-04-01", "2027-04-01"]),
        ("week@sun", "UTC", ["2026-12-20", "2026-12-27", "2027-01-03"]),
        ("week@tue", "UTC", ["2028-02-22", "2028-02-29", "2028-03-07"]),
        # The day on which the month starts was skipped whole: it starts with the day after.
        ("month@30", "Pacific/Apia", ["2011-11-30", "2011-12-30", "2012-01-30"]),
        ("week@fri", "Pacific/Apia", ["2011-12-23", "2011-12-30", "2012-01-06"]),
    ],
)
def test_anchored_windows_start_on_their_day(text: str, zone: str, starts: list[str]) -> None:
    period, timezone = Period(text), ZoneInfo(zone)
    window = at(period, f"{starts[0]}T12:00Z", timezone)
    ids: list[str] = []
    while len(ids) < len(starts):
        ids.append(window.id)
        window = window_at(period, time_ms=window.ends_ms, timezone=timezone)
    assert ids == starts


@pytest.mark.parametrize(
    ("text", "zone", "time", "window_id", "bounds"),
    [
        ("month@15", "Europe/Berlin", "2026-03-20T12Z", "2026-03-15", ("2026-03-14T23:00Z", "2026-04-14T22:00Z")),
        ("month@15", "Asia/Tokyo", "2026-11-14T15Z", "2026-11-15", ("2026-11-14T15:00Z", "2026-12-14T15:00Z")),
        ("month@15", "Asia/Tokyo", "2026-11-14T14:59Z", "2026-10-15", ("2026-10-14T15:00Z", "2026-11-14T15:00Z")),
        ("week@sun", "Europe/Berlin", "2026-10-25T12Z", "2026-10-25", ("2026-10-24T22:00Z", "2026-10-31T23:00Z")),
        # The clock jumps from 00:00 to 01:00 on the day on which they start.
        ("week@sun", "America/Sao_Paulo", "2018-11-05T12Z", "2018-11-04", ("2018-11-04T03:00Z", "2018-11-11T02:00Z")),
        ("month@4", "America/Sao_Paulo", "2018-11-05T12Z", "2018-11-04", ("2018-11-04T03:00Z", "2018-12-04T02:00Z")),
        ("year@11-04", "America/Sao_Paulo", "2018-11-05T12Z", "2018-11-04", ("2018-11-04T03:00Z", "2019-11-04T03:00Z")),
        ("month@30", "Pacific/Apia", "2011-12-31T12Z", "2011-12-30", ("2011-12-30T10:00Z", "2012-01-29T10:00Z")),
        # At 00:01 the clock goes back to 23:01 of the day before.
        ("week@sun", "America/St_Johns", "2010-11-07T02:45Z", "2010-11-07", ("2010-11-07T02:30Z", "2010-11-14T03:30Z")),
    ],
)
def test_anchored_windows_start_with_the_local_day(
    text: str, zone: str, time: str, window_id: str, bounds: tuple[str, str]
) -> None:
    window = Window(Period(text), window_id, *map(ms, bounds))
    assert at(Period(text), time, ZoneInfo(zone)) == window
    assert window_named(Period(text), window_id, timezone=ZoneInfo(zone)) == window


@pytest.mark.parametrize(
    ("day", "zone", "lapses"),
    [
        ("2027-03-31", "UTC", "2027-03-31T00:00Z"),
        ("2027-03-31", "Europe/Berlin", "2027-03-30T22:00Z"),
        ("2027-03-31", "Asia/Kathmandu", "2027-03-30T18:15Z"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00Z"),
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00Z"),
        ("1970-01-02", "Pacific/Kiritimati", "1970-01-02T10:40Z"),
        ("9998-12-31", "UTC", "9998-12-31T00:00Z"),
    ],
)
def test_a_credit_lapses_when_its_day_begins(day: str, zone: str, lapses: str) -> None:
    period, timezone, lapses_ms = Period(f"total@{day}"), ZoneInfo(zone), ms(lapses)
    until, since = (window_at(period, time_ms=at_ms, timezone=timezone) for at_ms in (lapses_ms - 1, lapses_ms))
    assert until == Window(period, f"until-{day}", 0, lapses_ms)
    assert since == Window(period, f"since-{day}", lapses_ms, FOREVER_MS)
    assert (has_lapsed(until), has_lapsed(since)) == (False, True)
    assert window_at(period, time_ms=0, timezone=timezone) == until


@pytest.mark.parametrize(
    ("zone", "time", "window_id", "starts", "ends"),
    [
        ("UTC", "2026-11-24T05:07:59Z", "2026-11-24T05:07+00:00", "2026-11-24T05:07Z", "2026-11-24T05:08Z"),
        ("Europe/Berlin", "2026-10-25T00:30Z", "2026-10-25T02:30+02:00", "2026-10-25T00:30Z", "2026-10-25T00:31Z"),
        ("Europe/Berlin", "2026-10-25T01:30Z", "2026-10-25T02:30+01:00", "2026-10-25T01:30Z", "2026-10-25T01:31Z"),
        # The clock jumps from 00:00:00 by 44 minutes and 30 seconds, to the middle of a minute.
        (
            "Africa/Monrovia",
            "1972-01-07T00:44:29Z",
            "1972-01-06T23:59-00:44:30",
            "1972-01-07T00:43:30Z",
            "1972-01-07T00:44:30Z",
        ),
        (
            "Africa/Monrovia",
            "1972-01-07T00:44:30Z",
            "1972-01-07T00:44+00:00",
            "1972-01-07T00:44:30Z",
            "1972-01-07T00:45Z",
        ),
    ],
)
def test_minutes_are_those_of_the_local_clock(zone: str, time: str, window_id: str, starts: str, ends: str) -> None:
    window = Window(Period.MINUTE, window_id, ms(starts), ms(ends))
    assert at(Period.MINUTE, time, ZoneInfo(zone)) == window
    assert window_named(Period.MINUTE, window_id, timezone=ZoneInfo(zone)) == window


@given(
    st.sampled_from(ALL_PERIODS),
    st.sampled_from(ZONES).map(ZoneInfo),
    st.integers(ms("1971-01-01T00:00Z"), ms("2100-01-01T00:00Z"))
    | st.integers(0, ms("1971-01-01T00:00Z"))
    | st.integers(ms("9997-01-01T00:00Z"), ms("9998-12-31T00:00Z")),
)
@example(Period.DAY, ZoneInfo("America/St_Johns"), ms("2010-11-07T02:31Z"))
@example(Period.HOUR, ZoneInfo("America/Caracas"), ms("2016-05-01T06:59Z"))
@example(Period.HOUR, ZoneInfo("Africa/Monrovia"), ms("1972-01-07T00:44:29Z"))
@example(Period.MINUTE, ZoneInfo("Africa/Monrovia"), ms("1972-01-07T00:44:59Z"))
@example(Period.DAY, ZoneInfo("Pacific/Kwajalein"), ms("1993-08-21T12:00Z"))
@example(Period.DAY, ZoneInfo("Africa/Cairo"), ms("2014-09-25T21:30Z"))
@example(Period("month@30"), ZoneInfo("Pacific/Apia"), ms("2011-12-30T10:00Z"))
@example(Period("year@04-01"), ZoneInfo("Pacific/Kiritimati"), ms("9998-12-31T00:00Z"))
@example(Period("week@sun"), ZoneInfo("Pacific/Kiritimati"), 0)
def test_windows_partition_time_and_their_ids_name_them(period: Period, timezone: ZoneInfo, time_ms: int) -> None:
    def computed_at(at_ms: int) -> Window:
        window_at(period, time_ms=ms("2150-06-06T06:06Z"), timezone=timezone)  # drops the window asked for last
        return window_at(period, time_ms=at_ms, timezone=timezone)

    window = computed_at(time_ms)
    assert window.starts_ms <= time_ms < window.ends_ms
    assert window.starts_ms % 1000 == window.ends_ms % 1000 == 0
    assert window_named(period, window.id, timezone=timezone) == window
    first_ms, last_ms = window.starts_ms, window.ends_ms - 1
    if window.ends_ms <= ms("9999-01-01T00:00Z"):
        for inside_ms in (first_ms, (first_ms + last_ms) // 2, last_ms):
            assert computed_at(inside_ms) == window
    if isinstance(period.rule, Total) and first_ms == 0:
        with pytest.raises(ValueError, match=f"no window of period {period} is before {window.id}"):
            previous_window(window, timezone=timezone)
        return
    before = computed_at(first_ms - 1)
    assert previous_window(window, timezone=timezone) == before
    assert (before.ends_ms, before.id != window.id) == (window.starts_ms, True)
    if window.ends_ms <= ms("9998-12-31T00:00Z"):
        after = computed_at(last_ms + 1)
        assert (after.starts_ms, len({before.id, window.id, after.id})) == (window.ends_ms, 3)


def test_the_window_of_now_is_computed_once() -> None:
    for period in ALL_PERIODS:
        window = at(period, "2026-11-24T05:00Z", BERLIN)
        assert window_at(period, time_ms=window.ends_ms - 1, timezone=BERLIN) is window


@pytest.mark.parametrize(
    ("period", "window_id"),
    [
        (Period.DAY, "2011-12-30"),  # Samoa skipped it
        (Period.DAY, "2026-02-29"),
        (Period.DAY, "20261124"),
        (Period.DAY, "2026-11"),
        (Period.MONTH, "2026-13"),
        (Period.MONTH, "2026-11-24"),
        (Period.WEEK, "2025-W53"),
        (Period.WEEK, "2026-w48"),
        (Period.YEAR, "0001"),
        (Period.YEAR, "9999"),
        (Period.YEAR, "٢٠٢٦"),
        (Period.YEAR, "9" * 5000),
        (Period.HOUR, "2026-11-24T05"),
        (Period.HOUR, "2026-11-24T05+01:00"),  # not an offset of Samoa
        (Period.HOUR, "0001-01-01T00+23:00"),
        (Period.TOTAL, "all\ntime"),
        (Period.MINUTE, "2026-11-24T05+13:00"),
        (Period.MINUTE, "2026-11-24T05:07:30+13:00"),
        (Period("month@15"), "2026-11"),
        (Period("month@15"), "2026-11-14"),
        (Period("month@31"), "2026-02-31"),
        (Period("week@sun"), "2026-W48"),
        (Period("week@sun"), "2026-11-23"),
        (Period("year@02-29"), "2028-02-28"),
        (Period("total@2027-03-31"), "total"),
        (Period("total@2027-03-31"), "until-2027-03-30"),
        (Period("24h"), "2026-11-29T14:25Z"),
        (Period("24h"), "2026-11-29T14:24+00:00"),
        (Period("24h"), "2026-11-29T14:24"),
    ],
)
def test_a_window_that_does_not_exist_is_refused_with_the_form_accepted(period: Period, window_id: str) -> None:
    with pytest.raises(ValueError, match=f"of period {period} in Pacific/Apia; accepted is the form") as error:
        window_named(period, window_id, timezone=SAMOA)
    assert "\n" not in str(error.value)
