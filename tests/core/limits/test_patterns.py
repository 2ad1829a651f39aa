"""Patterns with prefixes: which of several decides, and which ones a request looks up."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.limits.layering import claims_for
from budget_middleware.core.limits.limits import LimitBook
from budget_middleware.core.limits.patterns import EXACT, part_reaching, parts_standing_for
from budget_middleware.core.limits.shapes import Shape, parse_shape, patterns_for, possible_shapes, shape_of
from budget_middleware.core.payers.accounts import GLOBAL, account_of, encode_subject
from budget_middleware.core.payers.payers import Payers

LIMITS = "team=1/day; team:a/*=2/day; team:a/b/*=3/day; team:a/b/c=4/day; team:/*=5/day"


def limits_of(payers: Payers, limits: str, model: str = "m") -> dict[str, object]:
    claims = claims_for(payers, layers=[LimitBook(parse_limits(limits))], model=model)
    return {claim.account: claim.limit and claim.limit // 10**9 for claim in claims}


@pytest.mark.parametrize(
    ("team", "limit"),
    {
        "x": 1,
        "a": 1,
        "ab/c": 1,
        "a/": 2,
        "a/x": 2,
        "a/x/b/c/d/e": 2,
        "a/b": 2,
        "a/b/x": 3,
        "a/b/c": 4,
        "a/b/c/d": 3,
        "/x": 5,
    }.items(),
)
def test_the_longest_prefix_decides_and_each_account_has_its_own(team: str, limit: int):
    assert limits_of({"team": team}, LIMITS) == {f"team:{team}": limit}


def test_a_prefix_can_lift_and_forbid():
    text = "team=1/day; team:free/*=none; team:free/x=0/day"
    assert limits_of({"team": "free/a"}, text) == {"team:free/a": None}
    assert limits_of({"team": "free/x"}, text) == {"team:free/x": 0}
    assert limits_of({"team": "paid/a"}, text) == {"team:paid/a": 1}


def test_prefixes_in_compounds_and_of_models():
    text = "team+model:search/*+gpt-5=2/day; team+model:*+gpt-5=1/day; model:openrouter/*=3/day; team:search/*=9/day"
    assert limits_of({"team": "search/a"}, text, "gpt-5") == {"model+team:gpt-5+search/a": 2, "team:search/a": 9}
    assert limits_of({"team": "ads"}, text, "gpt-5") == {"model+team:gpt-5+ads": 1, "team:ads": None}
    assert limits_of({"team": "ads"}, text, "openrouter/x") == {"model:openrouter/x": 3, "team:ads": None}


@pytest.mark.parametrize(
    ("higher", "lower"),
    [
        ("key+team:k+*", "key+team:*+a/b/*"),
        ("key+team:*+a/b/*", "key+team:*+a/*"),
        ("key+team:*+a/*", "key+team:*+*"),
        ("team+user:a/b/*+u/*", "team+user:a/*+u/v/*"),
        ("team+user:a/*+u/*", "team+user:a/b/*+*"),
    ],
)
def test_more_exact_parts_decide_then_more_prefixes_then_the_leftmost(higher: str, lower: str):
    payers = {"key": "k", "team": "a/b/c", "user": "u/v/w"}
    for text in (f"{higher}=2/day; {lower}=1/day", f"{lower}=1/day; {higher}=2/day"):
        assert 2 in limits_of(payers, text).values()


def test_who_leaves_the_subject_out_is_bound_by_the_default_of_all_only():
    assert limits_of({"team": None}, "team:search/*=1/day") == {GLOBAL: None}
    assert limits_of({"team": None}, "team:search/*=1/day; team=2/day") == {"team:-": 2}


def test_a_subject_that_is_hashed_begins_with_no_prefix():
    long = encode_subject("search/" + "x" * 300)
    assert limits_of({"team": long}, "team:search/*=1/day; team=2/day") == {f"team:{long}": 2}


@pytest.mark.parametrize(
    ("pattern", "shape"),
    {
        "team:a": "team:=",
        "team:*": "team:*",
        "team:a/*": "team:/*",
        "team:a/b/c/d/*": "team:////*",
        "key+team:*+a/b/*": "key+team:*+//*",
        GLOBAL: "global:=",
    }.items(),
)
def test_the_shape_of_a_pattern_comes_back_from_its_text(pattern: str, shape: str):
    assert shape_of(pattern) == shape
    kinds, marks = parse_shape(shape)
    assert "+".join(kinds) == pattern.partition(":")[0]
    assert Shape(kinds, marks) in possible_shapes({"key": "k", "team": "a/b/c/d/e"}, model="m")


@pytest.mark.parametrize("text", ["team://///*", "team:/", "team:/=", "team:*/", "team:", "team:=+=", "team"])
def test_what_is_no_shape_here_is_left_out(text: str):
    with pytest.raises(ValueError, match="is not a shape"):
        parse_shape(text)


def test_a_request_looks_up_the_prefixes_of_its_own_subjects_only():
    shapes = [Shape(("team",), (mark,)) for mark in (0, 1, 2, 3, EXACT)]
    assert patterns_for({"team": "a/b/c"}, model="", shapes=shapes) == (
        "team:*",
        "team:a/*",
        "team:a/b/*",
        "team:a/b/c",
    )
    assert patterns_for({"team": None}, model="", shapes=shapes) == ("team:*", "team:-")
    assert patterns_for({"tag": ("x/y", "z")}, model="", shapes=[Shape(("tag",), (1,))]) == ("tag:x/*",)


def test_a_pattern_stands_below_those_that_stand_for_all_of_its_accounts():
    assert parts_standing_for("a/b/c") == ("a/b/c", "*", "a/*", "a/b/*")
    assert parts_standing_for("a/b/*") == ("a/b/*", "*", "a/*")
    assert parts_standing_for("*") == ("*",)
    assert parts_standing_for("") == ("",)


subjects = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)
patterns = subjects.flatmap(lambda subject: st.sampled_from(parts_standing_for(subject)))


@given(team=subjects, user=subjects, limits=st.dictionaries(st.tuples(patterns, patterns), st.integers(1, 9)))
def test_what_is_looked_up_is_all_that_a_book_of_all_rules_applies(
    team: str, user: str, limits: dict[tuple[str, str], int]
):
    """By the index of shapes, complete or not yet, as by every rule of the store."""
    payers: Payers = {"team": team, "user": user}
    named = {account_of("team+user", "+".join(parts)): usd for parts, usd in limits.items()}
    rules = parse_limits(";".join(f"{pattern}={usd}/day" for pattern, usd in named.items()))
    shapes = frozenset(parse_shape(shape_of(pattern)) for pattern in named)
    every = claims_for(payers, layers=[LimitBook(rules)], model="m")
    for known in (shapes, possible_shapes(payers, model="m")):
        found = set(patterns_for(payers, model="m", shapes=known))
        some = [rule for rule in rules if account_of("team+user", "+".join(rule.subjects)) in found]
        assert claims_for(payers, layers=[LimitBook(some)], model="m") == every


@given(subjects, st.integers(0, EXACT))
def test_a_part_stands_for_what_begins_with_it(subject: str, mark: int):
    part = part_reaching(subject, mark)
    if not part:
        assert subject.count("/") < mark
    else:
        assert part == subject or subject.startswith(part.removesuffix("*"))


def test_every_combination_of_marks_is_possible_up_to_what_subjects_have():
    shapes = possible_shapes({"team": "a/b", "user": None}, model="m")
    assert {marks for kinds, marks in shapes if kinds == ("team", "user")} == set(product((0, 1, EXACT), (0, EXACT)))
    assert Shape((GLOBAL,), (EXACT,)) in shapes
