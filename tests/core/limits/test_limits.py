from collections.abc import Mapping
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.limits.layering import claims_for
from budget_middleware.core.limits.limits import (
    LIFTED,
    MAX_FIGURE,
    MISSING,
    Claim,
    Increase,
    LimitBook,
    LimitMode,
    Missing,
    Slot,
    Terms,
    increased,
    rule_of,
)
from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period

DAY, WEEK, MONTH, TOTAL = Period.DAY, Period.WEEK, Period.MONTH, Period.TOTAL


def usd(dollars: int) -> int:
    return dollars * NANOS_PER_USD


def book(text: str) -> LimitBook:
    return LimitBook(parse_limits(text))


def limit(limits: LimitBook, account: str, period: Period) -> int | Missing | None:
    terms = limits.terms(account, Slot(period))
    return terms if isinstance(terms, Missing) else terms.amount


def claims(payers: Mapping[str, str | None], *layers: str, model: str = "gpt-4o") -> list[str]:
    """The claims in words: `ACCOUNT=USD/PERIOD`, or `ACCOUNT/PERIOD` where nothing binds."""
    found = claims_for(payers, layers=[book(text) for text in layers], model=model)
    return [
        f"{claim.account}/{claim.period}"
        if claim.limit is None
        else f"{claim.account}={claim.limit // NANOS_PER_USD}/{claim.period}"
        for claim in found
    ]


def test_the_most_specific_limit_applies() -> None:
    rules = parse_limits("a+b:*+*=1/day; a+b:*+y=2/day; a+b:x+*=3/day; a+b:x+y=4/day")
    for order in permutations(rules):
        limits = LimitBook(order)
        assert limit(limits, "a+b:p+q", DAY) == usd(1)
        assert limit(limits, "a+b:p+y", DAY) == usd(2)
        assert limit(limits, "a+b:x+q", DAY) == usd(3)
        assert limit(limits, "a+b:x+y", DAY) == usd(4)
        assert limit(limits, "a+b:x+y", MONTH) is MISSING
        assert limit(limits, "a:x", DAY) is MISSING


def test_a_tie_goes_to_the_exact_leftmost_part() -> None:
    limits = book("a+b:*+y=2/day; a+b:x+*=3/day; a+b+c:*+y+z=5/day; a+b+c:x+*+z=6/day; a+b+c:*+*+z=7/day")
    assert limit(limits, "a+b:x+y", DAY) == usd(3)
    assert limit(limits, "a+b+c:x+y+z", DAY) == usd(6)


def test_fewer_stars_win_over_a_leftmost_one() -> None:
    assert limit(book("a+b+c:x+*+*=1/day; a+b+c:*+y+z=2/day"), "a+b+c:x+y+z", DAY) == usd(2)


def test_each_period_is_decided_by_itself_and_none_lifts() -> None:
    limits = book("key=10/day; key=100/month; key:free=none; key:free=5/week; key:half=none/day; key:half=7/total")
    assert limits.slots_of("key:any") == {Slot(DAY): Terms(usd(10)), Slot(MONTH): Terms(usd(100))}
    assert limits.slots_of("key:half") == {
        Slot(DAY): LIFTED,
        Slot(MONTH): Terms(usd(100)),
        Slot(TOTAL): Terms(usd(7)),
    }
    assert limits.slots_of("key:free") == {None: LIFTED, Slot(WEEK): Terms(usd(5))}
    assert limit(limits, "key:free", DAY) is None
    assert limits.slots_of("team:any") == {}
    assert limits.slots_of("global") == {}
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


def test_one_counter_has_a_limit_of_each_mode() -> None:
    found = claims_for(
        {"key": "a"}, layers=[book("key=8/day!soft!alert=80; key=10/day!alert=50; key=5/day!shadow")], model=""
    )
    soft, shadow = Terms(usd(8), alerts=(80,)), Terms(usd(5))
    assert found == (Claim("key:a", DAY, usd(10), soft=soft, shadow=shadow, alerts=(50,)),)


def test_a_counter_that_nothing_enforces_is_claimed_without_a_limit() -> None:
    found = claims_for({"key": "a"}, layers=[book("key=8/day!soft")], model="")
    assert found == (Claim("key:a", DAY, None, soft=Terms(usd(8))),)


def test_each_slot_is_decided_by_itself() -> None:
    runtime, environment = (
        book("key:a=2/day!soft; key:a=none tokens/minute"),
        book("key=10/day!carry=50%; key=8/day!soft; key=100tokens/minute; key=50tokens/minute!shadow"),
    )
    assert claims_for({"key": "a"}, layers=[runtime, environment], model="") == (
        Claim("key:a", Period.MINUTE, None, Unit.TOKENS, shadow=Terms(50)),
        Claim("key:a", Period.DAY, usd(10), carry=50, soft=Terms(usd(2))),
    )


def test_none_lifts_all_slots_that_a_layer_does_not_name() -> None:
    environment = book("key=10/day; key=8inflight; key=5/day!shadow; key=7requests/minute")
    assert claims_for({"key": "a"}, layers=[book("key:a=none; key:a=3inflight"), environment], model="") == (
        Claim("key:a", MONTH, None),
        Claim("key:a", TOTAL, 3, Unit.INFLIGHT),
    )


def test_money_is_counted_whatever_is_limited() -> None:
    requests = Claim("key:a", Period.MINUTE, 60, Unit.REQUESTS)
    found = claims_for({"key": "a"}, layers=[book("key=60requests/minute")], model="")
    assert found == (requests, Claim("key:a", MONTH, None))
    on_demand = claims_for({}, layers=[book("model=9tokens/day; global=8inflight")], model="m")
    assert on_demand == (
        Claim("global", MONTH, None),
        Claim("global", TOTAL, 8, Unit.INFLIGHT),
        Claim("model:m", DAY, 9, Unit.TOKENS),
    )


def test_an_increase_holds_until_it_lapses_and_adds_up() -> None:
    increases = (Increase(5, 100), Increase(7, 200))
    assert [increased(10, increases, at) for at in (99, 100, 199, 200)] == [22, 17, 17, 10]
    assert increased(None, increases, 0) is None
    assert increased(MAX_FIGURE, increases, 0) == MAX_FIGURE


def test_a_claim_has_the_increases_of_all_its_limits() -> None:
    enforced, soft = Increase(1, 100), Increase(2, 200)
    rules = [
        rule_of("key:a", Slot(DAY), Terms(9, increases=(enforced,))),
        rule_of("key:a", Slot(DAY, mode=LimitMode.SOFT), Terms(8, increases=(soft,))),
    ]
    (claim,) = claims_for({"key": "a"}, layers=[LimitBook(rules)], model="")
    assert claim.increases == (enforced,)
    assert list(claim.all_increases) == [enforced, soft]
