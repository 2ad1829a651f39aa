"""One layering of limits: what operators are told binds an account is what a request's counters have."""

from itertools import product

import pytest

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.limits.layering import Bound, bounds_of, claims_for
from budget_middleware.core.limits.limits import LIFTED, LimitBook, Slot, Terms
from budget_middleware.core.limits.shapes import parse_shape, patterns_for
from budget_middleware.core.payers.payers import Payers, first_account
from budget_middleware.core.periods import PERIODS, Period

RUNTIME = ("", "key=none", "key:a=none/day", "key:a=1/day; key=2/day", "key=3/month; key:b=4/week")
ENVIRONMENT = ("", "key=5/day; key=6/month", "key:a=7/total; key:*=8/day", "key=none/month")


def layers(runtime: str, environment: str) -> dict[str, LimitBook]:
    return {"runtime": LimitBook(parse_limits(runtime)), "environment": LimitBook(parse_limits(environment))}


@pytest.mark.parametrize(("runtime", "environment"), list(product(RUNTIME, ENVIRONMENT)))
@pytest.mark.parametrize("subject", ["a", "b"])
def test_what_binds_is_what_requests_claim(runtime: str, environment: str, subject: str):
    books = layers(runtime, environment)
    bounds = bounds_of(f"key:{subject}", books)
    told = {slot.period: bound.terms.amount for slot, bound in bounds.items() if bound.terms.amount is not None}
    claims = claims_for({"key": subject}, layers=list(books.values()), model="")
    assert told == {claim.period: claim.limit for claim in claims if claim.limit is not None}


def test_the_layer_that_decides_is_named_also_where_it_lifts_the_limit():
    bounds = bounds_of("key:a", layers("key:a=none/day; key=2/month", "key=5/day; key=6/month; key:a=1/hour"))
    assert list(bounds.items()) == [
        (Slot(Period.HOUR), Bound(Terms(10**9), "environment", "key:a")),
        (Slot(Period.DAY), Bound(LIFTED, "runtime", "key:a")),
        (Slot(Period.MONTH), Bound(Terms(2 * 10**9), "runtime", "key:*")),
    ]


def test_the_pattern_that_decides_is_named():
    books = layers("team:a/*=none; team:a/b/*=1/day", "team=2/day; team=3/hour; team:a/b/c=4/month")
    bounds = bounds_of("team:a/b/c", books)
    assert {slot.period: (bound.terms.amount, bound.pattern) for slot, bound in bounds.items()} == {
        **dict.fromkeys(PERIODS, (None, "team:a/*")),
        Period.DAY: (10**9, "team:a/b/*"),
    }
    assert [bound.pattern for bound in bounds_of("team:a/b/*", layers("", "team:a/*=1/day")).values()] == ["team:a/*"]


def test_a_pattern_is_bound_by_what_is_said_of_all_that_it_names():
    assert bounds_of("key:*", layers("key:a=1/day", "key=5/day")) == {
        Slot(Period.DAY): Bound(Terms(5 * 10**9), "environment", "key:*")
    }


# Several tags.


def claimed(payers: Payers, limits: str, model: str = "m") -> list[str]:
    claims = claims_for(payers, layers=[LimitBook(parse_limits(limits))], model=model)
    return [f"{claim.account}/{claim.period}={claim.limit}" for claim in claims]


def test_each_tag_has_an_account_and_all_bind_at_once():
    payers: Payers = {"key": "k", "tag": ("a", "b")}
    assert claimed(payers, "key=5/day; tag=3/day; tag:b=2/day") == [
        "key:k/day=5000000000",
        "tag:a/day=3000000000",
        "tag:b/day=2000000000",
    ]
    assert claimed(payers, "") == ["key:k/month=None", "tag:a/month=None", "tag:b/month=None"]


def test_a_compound_has_an_account_for_each_combination():
    payers: Payers = {"key": "k", "tag": ("a", "b")}
    assert claimed(payers, "key+tag+model=1/day; global=9/day; tag=none; key=none") == [
        "global/day=9000000000",
        "key+model+tag:k+m+a/day=1000000000",
        "key+model+tag:k+m+b/day=1000000000",
        "key:k/month=None",
        "tag:a/month=None",
        "tag:b/month=None",
    ]


def test_who_leaves_tags_out_shares_one_account_where_a_default_binds():
    assert claimed({"key": "k", "tag": None}, "tag=3/day") == ["key:k/month=None", "tag:-/day=3000000000"]
    assert claimed({"key": "k", "tag": None}, "tag:a=3/day") == ["key:k/month=None"]


@pytest.mark.parametrize(
    ("payers", "account"),
    [({"key": None, "tag": ("a", "b")}, "tag:a"), ({"key": "k", "tag": ("a",)}, "key:k"), ({"tag": None}, "")],
)
def test_answers_are_expected_to_be_like_those_of_the_first_account(payers: Payers, account: str):
    assert first_account(payers) == account


def test_the_patterns_of_tags_are_those_of_each():
    shapes = map(parse_shape, ("tag:=", "tag:*", "key+tag:*+="))
    patterns = patterns_for({"key": "k", "tag": ("a", "b")}, model="m", shapes=shapes)
    assert patterns == ("tag:a", "tag:*", "key+tag:*+a", "tag:b", "key+tag:*+b")
