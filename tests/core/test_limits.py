import re
from collections.abc import Mapping
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.layering import claims_for
from budget_middleware.core.limits import (
    MISSING,
    Claim,
    LimitBook,
    LimitRule,
    parse_amounts,
    parse_limits,
)
from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.core.windows import PERIODS, Period

DAY, WEEK, MONTH, TOTAL = Period.DAY, Period.WEEK, Period.MONTH, Period.TOTAL


def usd(dollars: int) -> int:
    return dollars * NANOS_PER_USD


def book(text: str) -> LimitBook:
    return LimitBook(parse_limits(text))


def claims(payers: Mapping[str, str | None], *layers: str, model: str = "gpt-4o") -> list[str]:
    """The claims in words: `ACCOUNT=USD/PERIOD`, or `ACCOUNT/PERIOD` where nothing binds."""
    found = claims_for(payers, layers=[book(text) for text in layers], model=model)
    return [
        f"{claim.account}/{claim.period}"
        if claim.limit is None
        else f"{claim.account}={claim.limit // NANOS_PER_USD}/{claim.period}"
        for claim in found
    ]


def test_limits_are_read_in_the_order_written() -> None:
    text = """
    # the defaults
    key=10/day; key = 100 / month   # both bind
    team:research=9000/month

    model+key:gpt-4o+*=0.20/day;
    key+model=1/hour; global=50/day; team:trial=0/total; key:1f3a=none; key:2b=none/day; user:-=2/week
    """
    assert parse_limits(text) == (
        LimitRule(("key",), ("*",), DAY, usd(10)),
        LimitRule(("key",), ("*",), MONTH, usd(100)),
        LimitRule(("team",), ("research",), MONTH, usd(9000)),
        LimitRule(("key", "model"), ("*", "gpt-4o"), DAY, usd(1) // 5),
        LimitRule(("key", "model"), ("*", "*"), Period.HOUR, usd(1)),
        LimitRule(("global",), ("",), DAY, usd(50)),
        LimitRule(("team",), ("trial",), TOTAL, 0),
        LimitRule(("key",), ("1f3a",), None, None),
        LimitRule(("key",), ("2b",), DAY, None),
        LimitRule(("user",), ("-",), WEEK, usd(2)),
    )


def test_nothing_written_is_no_limit() -> None:
    assert parse_limits(" ; \n # only a comment = 1/day\n") == ()


def test_the_same_limit_may_be_written_twice() -> None:
    assert len(parse_limits("key=10/day; key:*=10.00/day")) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("key", "'' is not a limit; accepted are USD/PERIOD from 0 upwards"),
        ("key=ten", "'ten' is not a limit; accepted are USD/PERIOD from 0 upwards"),
        ("key=ten/day", "'ten' is not an amount in USD; accepted is a decimal number such as 0.25"),
        (
            "key=10",
            "'10' is not a limit; accepted are USD/PERIOD from 0 upwards, none/PERIOD and none, with a",
        ),
        ("key=10/fortnight", "with a period of minute, hour, day, week, month, year, total"),
        ("key=10/Day", "'10/Day' is not a limit"),
        ("key=10/day/day", "is not a limit"),
        ("key=-1/day", "'-1/day' is not a limit; accepted are USD/PERIOD from 0 upwards"),
        ("key=nan/day", "'nan' is not an amount in USD"),
        ("key=$10/day", "'$10' is not an amount in USD"),
        ("key=9000001/day", "at most 9000000 USD"),
        ("key=none/ever", "'none/ever' is not a limit"),
        ("key=***", "'***' is not a limit"),
        ("=10/day", "'' is not an account; accepted are KIND:SUBJECT, global and compounds"),
        ("team:sea*=10/day", "'sea*' is not the subject of an account; accepted are"),
        ("team:a b=10/day", "'a b' is not the subject of an account"),
        ("key:***=10/day", "'***' is not the subject of an account"),
        ("key+model:***=10/day", "'key+model:***' is not an account"),
        ("global:x=1/day", "'global:x' is not an account"),
    ],
)
def test_a_wrong_entry_is_named_with_what_is_accepted(entry: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"limit {entry!r}: ")) as error:
        parse_limits(f"team=1/day; {entry}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["key=10/day; key:*=20/day", "model+key=1/day\nkey+model=2/day", "key=none/day; key=0/day"]
)
def test_two_amounts_for_one_account_and_period_contradict(text: str) -> None:
    with pytest.raises(ValueError, match="contradicts an earlier entry; accepted is one amount a period"):
        parse_limits(text)


@given(st.text(alphabet="key+model:*-%~=0123/dayone;#\n \u2028", max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    message = ""
    try:
        LimitBook(parse_limits(text))
    except ValueError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


def test_amounts_alone() -> None:
    assert parse_amounts("10/day; 100/month") == {DAY: usd(10), MONTH: usd(100)}
    assert parse_amounts("none") == dict.fromkeys(PERIODS)
    assert parse_amounts("50/day; none") == {**dict.fromkeys(PERIODS), DAY: usd(50)}
    assert parse_amounts("none/week") == {WEEK: None}
    assert parse_amounts("") == {}


@pytest.mark.parametrize("text", ["10", "key=10/day", "10/day; 20/day", "-1/day"])
def test_wrong_amounts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"accepted (is|are)"):
        parse_amounts(text)


def test_the_most_specific_limit_applies() -> None:
    rules = parse_limits("a+b:*+*=1/day; a+b:*+y=2/day; a+b:x+*=3/day; a+b:x+y=4/day")
    for order in permutations(rules):
        limits = LimitBook(order)
        assert limits.limit("a+b:p+q", DAY) == usd(1)
        assert limits.limit("a+b:p+y", DAY) == usd(2)
        assert limits.limit("a+b:x+q", DAY) == usd(3)
        assert limits.limit("a+b:x+y", DAY) == usd(4)
        assert limits.limit("a+b:x+y", MONTH) is MISSING
        assert limits.limit("a:x", DAY) is MISSING


def test_a_tie_goes_to_the_exact_leftmost_part() -> None:
    limits = book("a+b:*+y=2/day; a+b:x+*=3/day; a+b+c:*+y+z=5/day; a+b+c:x+*+z=6/day; a+b+c:*+*+z=7/day")
    assert limits.limit("a+b:x+y", DAY) == usd(3)
    assert limits.limit("a+b+c:x+y+z", DAY) == usd(6)


def test_fewer_stars_win_over_a_leftmost_one() -> None:
    assert book("a+b+c:x+*+*=1/day; a+b+c:*+y+z=2/day").limit("a+b+c:x+y+z", DAY) == usd(2)


def test_each_period_is_decided_by_itself_and_none_lifts() -> None:
    limits = book("key=10/day; key=100/month; key:free=none; key:free=5/week; key:half=none/day; key:half=7/total")
    assert limits.amounts("key:any") == {DAY: usd(10), MONTH: usd(100)}
    assert limits.amounts("key:half") == {DAY: None, MONTH: usd(100), TOTAL: usd(7)}
    assert limits.amounts("key:free") == {**dict.fromkeys(PERIODS), WEEK: usd(5)}
    assert limits.limit("key:free", DAY) is None
    assert limits.amounts("team:any") == {}
    assert limits.amounts("global") == {}
    assert limits.kinds == {("key",)}


def test_every_limit_of_every_account_of_the_request_binds() -> None:
    assert claims(
        {"key": "1f3a", "team": "research", "user": "alice"},
        "team:research=9000/month; key=100/month; key=10/day; user:bob=1/day",
    ) == ["key:1f3a=10/day", "key:1f3a=100/month", "team:research=9000/month", "user:alice/month"]


def test_claims_are_values_in_nanos() -> None:
    found = claims_for({"key": "1f3a"}, layers=[book("key=0.25/day")], model="")
    assert found == (Claim("key:1f3a", DAY, 250_000_000),)


def test_periods_stand_in_their_order_whatever_layer_they_come_from() -> None:
    assert claims({"key": "a"}, "key=1/total", "key=2/hour; key=9/total", "key=3/week") == [
        "key:a=2/hour",
        "key:a=3/week",
        "key:a=1/total",
    ]


def test_the_highest_layer_with_a_rule_decides_each_period() -> None:
    runtime, source, environment = "key:a=5/day", "key:a=none/month; key:a=7/day", "key=10/day; key=100/month"
    assert claims({"key": "a"}, runtime, source, environment) == ["key:a=5/day"]
    assert claims({"key": "b"}, runtime, source, environment) == ["key:b=10/day", "key:b=100/month"]
    # Order of layers before specificity: a runtime default wins over an exact limit below it.
    assert claims({"key": "a"}, "key=1/day", "key:a=7/day") == ["key:a=1/day"]


def test_a_limit_of_0_binds_and_a_lifted_one_does_not() -> None:
    assert claims({"key": "a"}, "key=0/day") == ["key:a=0/day"]
    assert claims({"key": "a"}, "key:a=none", "key=0/day") == ["key:a/month"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("", ["global/month"]),
        ("key=10/day", ["key:-=10/day"]),
        ("key:1f3a=10/day", ["global/month"]),
        # An operator who names the account of the nameless must not be ignored.
        ("key:-=0/day", ["key:-=0/day"]),
        ("key=10/day; key:-=1/day", ["key:-=1/day"]),
        ("key=10/day; key:-=none", ["key:-/month"]),
        ("key=none", ["global/month"]),
        ("team=10/day", ["global/month"]),
    ],
)
def test_a_request_without_the_subject_is_bound_by_the_kinds_default(limits: str, expected: list[str]) -> None:
    assert claims({"key": None}, limits) == expected
    assert claims({"key": ""}, limits) == expected


def test_a_default_lifted_above_leaves_the_nameless_without_account() -> None:
    assert claims({"key": None, "team": "a"}, "key=none", "key=10/day") == ["team:a/month"]


def test_model_and_global_exist_only_where_a_limit_names_them() -> None:
    payers = {"key": "a"}
    assert claims(payers, "") == ["key:a/month"]
    assert claims(payers, "model:gpt-4o=20/day; global=50/day") == [
        "global=50/day",
        "key:a/month",
        "model:gpt-4o=20/day",
    ]
    assert claims(payers, "model:gpt-4o=20/day", model="o3") == ["key:a/month"]
    assert claims(payers, "model=20/day", model="o3") == ["key:a/month", "model:o3=20/day"]
    assert claims(payers, "model=20/day", model="") == ["key:a/month", "model:-=20/day"]
    assert claims(payers, "model:gpt-4o=none; global=none", "model=20/day; global=50/day") == ["key:a/month"]


def test_global_pays_if_nobody_else_does() -> None:
    assert claims({}, "") == ["global/month"]
    assert claims({}, "global=5/day") == ["global=5/day"]
    assert claims({"key": None}, "model=20/day") == ["model:gpt-4o=20/day"]


def test_each_combination_of_a_compound_has_its_own_counter() -> None:
    limits = "key+model:*+gpt-4o=20/day; key+team:a+research=3/day"
    assert claims({"key": "a", "team": "research"}, limits) == [
        "key+model:a+gpt-4o=20/day",
        "key+team:a+research=3/day",
        "key:a/month",
        "team:research/month",
    ]
    assert claims({"key": "b", "team": "research"}, limits, model="o3") == [
        "key:b/month",
        "team:research/month",
    ]


def test_leaving_out_a_subject_does_not_evade_a_compound() -> None:
    limits = "key+team=3/day; key+team:a+research=9/day"
    assert claims({"key": "a", "team": None}, limits) == ["key+team:a+-=3/day", "key:a/month"]
    assert claims({"key": None, "team": None}, limits) == ["key+team:-+-=3/day"]
    assert claims({"key": "a", "team": None}, "key+team:a+research=9/day") == ["key:a/month"]
    assert claims({"key": None}, "key+model:*+gpt-4o=1/day") == ["key+model:-+gpt-4o=1/day"]
    assert claims({"key": "a"}, "key+model=1/day", model="") == ["key+model:a+-=1/day", "key:a/month"]


def test_a_compound_whose_limits_are_lifted_has_no_account() -> None:
    assert claims({"key": "a"}, "key+model:a+gpt-4o=none", "key+model=1/day") == ["key:a/month"]


def test_a_compound_named_in_two_layers_is_claimed_once() -> None:
    assert claims({"key": "a"}, "key+model=1/day", "key+model:a+*=2/day; key+model=5/week") == [
        "key+model:a+gpt-4o=1/day",
        "key+model:a+gpt-4o=5/week",
        "key:a/month",
    ]


@given(st.permutations(["key", "team", "user"]))
def test_the_order_of_the_payers_changes_nothing(kinds: list[str]) -> None:
    limits = "key=1/day; team+user=2/day; model=3/day; global=4/day"
    assert claims(dict.fromkeys(kinds, "x"), limits) == claims(dict.fromkeys(sorted(kinds), "x"), limits)
