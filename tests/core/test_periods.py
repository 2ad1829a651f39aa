import copy
import pickle

import pytest

from budget_middleware.core.periods import ACCEPTED_PERIODS, PERIODS, Period, is_rolling, period_order


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("minute", "minute"),
        ("month@1", "month"),
        ("month@2", "month@2"),
        ("month@31", "month@31"),
        ("week@mon", "week"),
        ("week@sun", "week@sun"),
        ("year@01-01", "year"),
        ("year@02-29", "year@02-29"),
        ("total@1970-01-02", "total@1970-01-02"),
        ("total@2028-02-29", "total@2028-02-29"),
        ("total@9998-12-31", "total@9998-12-31"),
        ("1h", "1h"),
        ("24h", "24h"),
        ("1d", "24h"),
        ("36h", "36h"),
        ("48h", "2d"),
        ("8784h", "366d"),
        ("366d", "366d"),
    ],
)
def test_what_has_the_same_windows_has_one_text(text: str, canonical: str) -> None:
    period = Period(text)
    assert (period, str(period), type(period)) == (canonical, canonical, Period)
    assert Period(canonical) == period
    assert hash(period) == hash(canonical)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fortnight",
        "Month",
        " day",
        "day ",
        "day\n",
        "day@1",
        "minute@5",
        "hour@30",
        "month@",
        "month@0",
        "month@01",
        "month@32",
        "month@-1",
        "month@٢",
        "month@15@15",
        "week@",
        "week@Sun",
        "week@sunday",
        "year@",
        "year@4-1",
        "year@02-30",
        "year@04-31",
        "year@00-01",
        "year@2027-04-01",
        "total@",
        "total@2027-02-29",
        "total@20270331",
        "total@1970-01-01",
        "total@9999-01-01",
        "total@2027-03-31T00:00",
        "0h",
        "01h",
        "h",
        "1.5h",
        "-1h",
        "60m",
        "30s",
        "1w",
        "8785h",
        "367d",
        "9999d",
        "٢h",
        "2h\n",
        "x" * 9_999,
    ],
)
def test_what_is_no_period_is_refused_in_one_line_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="is not a period; accepted are minute, hour, day") as error:
        Period(text)
    assert str(error.value) == f"{text[:40]!r} is not a period; accepted are {ACCEPTED_PERIODS}"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [*PERIODS, "month@15", "total@2027-03-31", "24h"])
def test_a_text_is_one_object_wherever_it_is_read_copied_or_sent(text: str) -> None:
    period = Period(text)
    assert Period("".join(list(text))) is period
    assert copy.deepcopy(period) is period
    assert pickle.loads(pickle.dumps(period)) is period


def test_dates_without_end_fill_no_memory() -> None:
    first = Period("total@2100-01-01")
    for year in range(2101, 2101 + 1_100):
        Period(f"total@{year}-01-01")
    again = Period("total@2100-01-01")
    assert again is not first  # it was forgotten
    assert (again, hash(again), period_order(again)) == (first, hash(first), period_order(first))
    assert Period("month") is Period.MONTH  # those of the calendar never are


def test_periods_are_sorted_by_how_long_they_are() -> None:
    texts = [
        "minute",
        "hour",
        "1h",
        "2h",
        "day",
        "24h",
        "2d",
        "week",
        "week@fri",
        "week@sun",
        "7d",
        "30d",
        "month",
        "month@9",
        "month@15",
        "31d",
        "year",
        "year@04-01",
        "year@10-01",
        "366d",
        "total",
        "total@2027-03-31",
        "total@2028-01-01",
    ]
    assert sorted(map(Period, reversed(texts)), key=period_order) == texts


def test_only_lengths_of_time_roll() -> None:
    assert [period for period in (*PERIODS, Period("month@15"), Period("24h")) if is_rolling(period)] == ["24h"]
