"""What answers usually come to, and what is held by them: properties, and figures that can be done by hand."""

import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budget_middleware.core.costs.estimate import LARGEST_CONTEXT_TOKENS
from budget_middleware.core.costs.learning import (
    BORROWED_ANSWERS,
    FORGETTING,
    LARGEST_SUM,
    MOST_ANSWERS,
    NO_ANSWERS,
    AnswerSeen,
    Basis,
    Expectation,
    Sums,
    answer_seen,
    expect,
    input_to_hold,
    merge,
    prior_sums,
    sums_of,
    tokens_to_grow_to,
    tokens_to_hold,
)
from budget_middleware.core.money import MAX_NANOS

NUMBERS = [0, 1, 2, 7, 1_000, 10**9, MAX_NANOS, 10**30, -1]
WHATEVER = st.one_of(st.sampled_from(NUMBERS), st.integers(min_value=-(10**30), max_value=10**30))
SECONDS = st.one_of(st.sampled_from([0.0, -1.0, math.inf, -math.inf, 5e-324]), st.floats(allow_nan=False))
SEEN = st.builds(answer_seen, tokens=WHATEVER, seconds=SECONDS, estimated=WHATEVER, billed=WHATEVER)
PRIORS = st.sampled_from([0, 1, 1_024, 10**9])


def answers_of(*tokens: int, input_ratio: float = 1.0) -> list[AnswerSeen]:
    return [AnswerSeen(each, each / 100, 1_000, round(1_000 * input_ratio)) for each in tokens]


def group_of(tokens: int, times: int, **facts: float) -> Sums:
    """So many equal answers, learnt one after the other: their weights are a geometric series."""
    return sums_of(answers_of(tokens, **facts)).times((1 - 2 ** (-times / 1000)) / FORGETTING)


def learnt(answers: list[AnswerSeen | None]) -> Sums:
    return merged(NO_ANSWERS, [sums_of([seen]) for seen in answers if seen is not None])


def merged(sums: Sums, parts: list[Sums]) -> Sums:
    for part in parts:
        sums = merge(sums, part)
    return sums


def is_possible(expected: Expectation) -> bool:
    figures = expected[:5]
    return all(map(math.isfinite, figures)) and min(figures) >= 0 and expected.tokens_per_s > 0


# Whatever comes.


@given(st.lists(SEEN, max_size=8), st.lists(SEEN, max_size=8), PRIORS)
def test_no_usage_makes_a_sum_or_a_hold_that_cannot_be(own, model, prior_tokens):
    own_sums, model_sums = learnt(own), learnt(model)
    assert all(sums.is_sound for sums in (own_sums, model_sums) if sums != NO_ANSWERS)
    expected = expect(own_sums, model_sums, prior_tokens=prior_tokens)
    assert is_possible(expected)
    assert 0 <= tokens_to_hold(expected, spreads=10, at_most=10**9) <= 10**9
    assert input_to_hold(expected, MAX_NANOS, spreads=10, output_spread=1e30) >= 0


SOUND = st.builds(
    Sums,
    st.floats(1, MOST_ANSWERS),
    *[st.one_of(st.sampled_from([0.0, 5e-324, 1.0, LARGEST_SUM]), st.floats(0, LARGEST_SUM)) for _ in range(6)],
)


@given(SOUND, SOUND, PRIORS)
@example(Sums(1, LARGEST_SUM, 0, 0, 5e-324, LARGEST_SUM, 0), Sums(1, LARGEST_SUM), 0)
def test_sums_that_no_worker_has_learnt_are_survived(own, model, prior_tokens):
    assert is_possible(expect(own, model, prior_tokens=prior_tokens))
    assert is_possible(expect(merge(own, model), merge(model, own), prior_tokens=prior_tokens))


@pytest.mark.parametrize(
    "sums",
    [
        Sums(answers=math.nan),
        Sums(answers=math.inf),
        Sums(answers=-1.0),
        NO_ANSWERS,
        Sums(answers=0.5),
        Sums(answers=MOST_ANSWERS + 1.0),
        Sums(answers=1.0, tokens=math.nan),
        Sums(answers=1.0, billed_squared=2 * LARGEST_SUM),
    ],
)
def test_what_no_answers_can_have_led_to_is_not_sound(sums):
    assert not sums.is_sound


# Merging.


def test_an_answer_counts_half_after_a_thousand():
    assert pytest.approx(1 - 0.5 ** (1 / 1000)) == FORGETTING
    sums = merge(sums_of(answers_of(8)), group_of(0, 1_000))
    assert sums.tokens == pytest.approx(4.0)


def test_answers_learnt_one_by_one_weigh_as_a_geometric_series():
    sums = merged(NO_ANSWERS, [sums_of(answers_of(30))] * 100)
    assert sums == pytest.approx(group_of(30, 100))


def test_however_many_answers_weigh_no_more_than_the_most():
    sums = group_of(10, 10**6)
    assert MOST_ANSWERS - 1 < sums.answers <= MOST_ANSWERS
    assert merge(sums, sums).is_sound
    assert merge(sums, sums_of(answers_of(10))).is_sound


def test_what_was_told_together_makes_what_was_there_count_less_by_each_answer():
    there, told = group_of(100, 300), group_of(500, 200)
    assert merge(there, told).tokens == pytest.approx(there.tokens * 2 ** (-200 / 1000) + told.tokens)


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_order_in_which_workers_tell_hardly_matters(tokens, random):
    """It changes no weight of all, and that of one answer by what the later ones make it count less."""
    parts = [sums_of(answers_of(each)) for each in tokens]
    there = group_of(1_000, 50)
    one = merged(there, parts)
    random.shuffle(parts)
    other = merged(there, parts)
    assert one.answers == pytest.approx(other.answers, rel=1e-9)
    assert one.tokens == pytest.approx(other.tokens, rel=FORGETTING * len(parts))


@given(SOUND)
def test_nothing_told_changes_nothing(sums):
    assert merge(sums, NO_ANSWERS) == sums
    assert merge(NO_ANSWERS, sums) == sums


# What is expected.


def test_a_model_that_nobody_asked_is_expected_by_its_prior():
    expected = expect(NO_ANSWERS, NO_ANSWERS, prior_tokens=1_024)
    assert expected == Expectation(1_024, 1_024, 50, 1.0, 0.0, 0, Basis.PRIOR)


def test_a_key_leans_on_five_answers_of_its_model():
    model, own = group_of(100, 1_000), group_of(400, BORROWED_ANSWERS)
    expected = expect(own, model, prior_tokens=100)
    assert expected.mean_tokens == pytest.approx(250, rel=0.01)
    assert (expected.answers, expected.basis) == (5, Basis.KEY)


def test_a_key_without_answers_is_expected_as_its_model():
    expected = expect(NO_ANSWERS, group_of(700, 100), prior_tokens=700)
    assert expected.mean_tokens == pytest.approx(700)
    assert expected.basis is Basis.MODEL


@pytest.mark.parametrize("prior_tokens", [0, 1, 4_096, 10**9])
def test_the_prior_is_forgotten(prior_tokens):
    """Also where it was wrong by orders: imagined answers decay as real ones do."""
    expected = expect(NO_ANSWERS, group_of(300, 40_000), prior_tokens=prior_tokens)
    assert expected.mean_tokens == pytest.approx(300, rel=1e-3)
    assert expected.spread_tokens == pytest.approx(0, abs=1)


def test_a_flood_of_tiny_answers_moves_nobody_who_has_answers_of_their_own():
    flooded, own = merge(group_of(2_000, 100), group_of(1, 20_000)), group_of(2_000, 100)
    expected = expect(own, flooded, prior_tokens=1_024)
    assert 1_800 < expected.mean_tokens < 2_000
    assert tokens_to_hold(expected, spreads=2, at_most=10**6) > 2_000


def test_a_flood_of_maximal_answers_holds_no_more_than_the_maximum():
    flooded = group_of(LARGEST_CONTEXT_TOKENS, 20_000)
    assert tokens_to_hold(expect(flooded, flooded, prior_tokens=1), spreads=10, at_most=4_096) == 4_096


def test_one_lie_by_a_thousand_times_wears_off():
    lie = answer_seen(tokens=500_000, seconds=1.0, estimated=1_000, billed=1_000_000)
    assert lie is not None
    sums = merge(group_of(500, 1_000), sums_of([lie]))
    held = [tokens_to_hold(expect(sums, sums, prior_tokens=500), spreads=2, at_most=10**6)]
    for _ in range(4):
        sums = merge(sums, group_of(500, 2_000))
        held.append(tokens_to_hold(expect(sums, sums, prior_tokens=500), spreads=2, at_most=10**6))
    assert all(later < earlier / 1.5 for earlier, later in pairwise(held))


# The input.


def test_an_input_that_is_billed_at_more_than_estimated_is_held_at_more():
    sums = group_of(100, 1_000, input_ratio=1.25)
    expected = expect(sums, sums, prior_tokens=100)
    assert expected.input_ratio == pytest.approx(1.25, rel=0.01)
    assert input_to_hold(expected, 10**6, spreads=0, output_spread=0) == pytest.approx(1.25 * 10**6, rel=0.01)


def test_an_input_that_cost_nothing_tells_no_ratio():
    seen = answer_seen(tokens=5, seconds=1, estimated=0, billed=17)
    assert seen == AnswerSeen(5, 1, 0, 0)
    assert expect(sums_of([seen]), NO_ANSWERS, prior_tokens=5).input_ratio == 1


@pytest.mark.parametrize("tokens", [0, -1])
def test_an_answer_without_output_tells_nothing(tokens):
    assert answer_seen(tokens=tokens, seconds=1, estimated=1, billed=1) is None


def test_spreads_of_input_and_output_do_not_add_up():
    expected = Expectation(100, 10, 50, 1.0, 0.4, 100, Basis.KEY)
    # 3-4-5: the output spreads by 300, the input by 400, both by 500.
    assert input_to_hold(expected, 1_000, spreads=2, output_spread=300) == 1_000 + 2 * (500 - 300)


# What is held, and how it grows.


EXPECTATIONS = st.builds(
    lambda own, model, prior: expect(own, model, prior_tokens=prior),
    st.builds(group_of, st.integers(1, 5_000), st.integers(1, 5)),
    st.builds(group_of, st.integers(1, 5_000), st.integers(1, 5)),
    st.integers(1, 5_000),
)


@given(EXPECTATIONS, st.floats(0, 10), st.floats(0, 10), st.integers(1, 10_000))
def test_more_spreads_hold_more_and_never_more_than_the_most(expected, spreads, more, at_most):
    held = tokens_to_hold(expected, spreads=spreads, at_most=at_most)
    assert held <= tokens_to_hold(expected, spreads=spreads + more, at_most=at_most) <= at_most


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_an_answer_that_outgrows_its_hold_doubles_it(seen, held, at_most):
    grown = tokens_to_grow_to(seen, held=held, at_most=at_most)
    assert grown >= held
    assert grown > seen or grown == max(at_most, held)
    assert grown <= max(2 * max(seen, held), 1)


def test_what_fits_does_not_grow():
    assert tokens_to_grow_to(99, held=100, at_most=1_000) == 100
    assert tokens_to_grow_to(100, held=100, at_most=1_000) == 200
    assert tokens_to_grow_to(900, held=100, at_most=1_000) == 1_000


def test_imagined_inputs_cost_what_they_were_estimated_to():
    known = group_of(100, 3, input_ratio=2.0)
    prior = prior_sums(100, like=known)
    assert prior.billed == prior.estimated == pytest.approx(BORROWED_ANSWERS * 1_000)
