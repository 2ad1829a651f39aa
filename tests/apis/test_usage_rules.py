"""Which of the usages that one answer tells is believed, and when it is all that the answer used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.protocol.usage_rules import Contradiction, Totals, is_complete, latest, reconcile
from budget_middleware.core.costs.pricing import Usage

TRUE = Usage(input_tokens=1000, cached_input_tokens=900, output_tokens=50, reasoning_tokens=20)
EXPECTED = Usage(input_tokens=70)


@pytest.mark.parametrize(
    ("told", "stands"),
    [
        (Usage(), TRUE),
        (Usage(input_tokens=1000, cached_input_tokens=900, output_tokens=60), None),
        # The later figure of the input is the true one, also where it is smaller.
        (Usage(input_tokens=400, output_tokens=50), None),
        # Output only grows.
        (
            Usage(input_tokens=1000, output_tokens=49),
            Usage(input_tokens=1000, output_tokens=50, reasoning_tokens=20),
        ),
        # Each half is judged by itself.
        (
            Usage(output_tokens=60),
            Usage(input_tokens=1000, cached_input_tokens=900, output_tokens=60),
        ),
    ],
)
def test_of_two_usages(told, stands):
    assert latest(TRUE, told) == (told if stands is None else stands)
    assert latest(None, told) == told


def test_what_is_not_counted_in_tokens_grows_too():
    assert latest(Usage(audio_ms=700, web_searches=2), Usage(web_searches=3)) == Usage(audio_ms=700, web_searches=3)


NOTHING = {"has_text": False, "has_results": False, "misses_text": False}


@pytest.mark.parametrize(
    ("usage", "facts", "complete"),
    [
        (Usage(), {}, True),
        (Usage(), {"has_text": True}, False),
        (Usage(input_tokens=9), {"has_text": True}, False),
        (Usage(input_tokens=9, output_tokens=1), {"has_text": True}, True),
        (Usage(input_tokens=9, output_tokens=1), {"has_text": True, "misses_text": True}, False),
        (Usage(audio_ms=9), {"has_text": True}, True),
        (Usage(), {"has_results": True}, False),
        (Usage(input_tokens=9), {"has_results": True}, True),
        (Usage(rerank_searches=1), {"has_results": True}, True),
    ],
)
def test_whether_a_usage_is_the_whole(usage, facts, complete):
    assert is_complete(usage, **{**NOTHING, **facts}) is complete


def seen_after(*steps):
    """What was seen after texts (bytes of them) and usages, in this order."""
    seen = Seen()
    for step in steps:
        if isinstance(step, Usage):
            seen.take_usage(step)
        else:
            seen.take_text(step)
    return seen


@pytest.mark.parametrize(
    ("seen", "whole", "so_far"),
    [
        (seen_after(400, TRUE, Usage()), TRUE, TRUE),
        # Zeros after text: the input as expected, the output as it was read.
        (seen_after(400, Usage()), None, Usage(input_tokens=70, output_tokens=100)),
        # A usage of the beginning, and what came after it: no client leaves in time to have the rest for nothing.
        (
            seen_after(Usage(input_tokens=9), 400),
            None,
            Usage(input_tokens=9, output_tokens=100),
        ),
        (
            seen_after(4, Usage(input_tokens=9, output_tokens=1), 400),
            None,
            Usage(input_tokens=9, output_tokens=101),
        ),
    ],
)
def test_what_of_it_counts(seen, whole, so_far):
    assert seen.whole_usage(EXPECTED) == whole
    assert seen.usage_so_far(EXPECTED) == so_far


@pytest.mark.parametrize(("told", "stands"), [((5, 0), 5), ((5, None), 5), ((5, 7), 7), ((0,), 0), ((None,), None)])
def test_a_cost_only_grows(told, stands):
    seen = Seen()
    for nanos in told:
        seen.take_cost(nanos)
    assert seen.cost_nanos == stands


@pytest.mark.parametrize(
    ("told", "totals"),
    [
        # A total alone is input, with one half the rest of it is the other.
        ((None, None, 15), Totals(15, 0, 0)),
        ((10, None, 15), Totals(10, 5, 0)),
        ((None, 5, 15), Totals(10, 5, 0)),
        ((None, 5, 3), Totals(0, 5, 0, Contradiction.TOTAL_BELOW_PARTS)),
        ((10, None, None), None),
        ((None, 5, None), None),
        ((None, None, None), None),
        # Thoughts that stand in the total alone.
        ((10, 5, 1215), Totals(10, 1205, 1200)),
        ((10, 5, 15), Totals(10, 5, 0)),
        ((10, 5, 0), Totals(10, 5, 0)),
        ((10, 5, 12), Totals(10, 5, 0, Contradiction.TOTAL_BELOW_PARTS)),
        ((10, 5, 10**9), Totals(10, 5, 0, Contradiction.TOTAL_ABOVE_PARTS)),
    ],
)
def test_parts_and_totals(told, totals):
    assert reconcile(**dict(zip(("input_tokens", "output_tokens", "total"), told, strict=True))) == totals


@pytest.mark.parametrize(
    ("facts", "totals"),
    [
        # Reasoning in the output, beside it by the total, beside it by its size.
        ({"total": 15, "reasoning": 3}, Totals(10, 5, 3)),
        ({"total": 18, "reasoning": 3}, Totals(10, 8, 3)),
        ({"total": None, "reasoning": 30}, Totals(10, 35, 30)),
        ({"total": 15, "reasoning": 30}, Totals(10, 35, 30, Contradiction.TOTAL_BELOW_PARTS)),
        ({"total": 99, "reasoning": 3}, Totals(10, 89, 87, Contradiction.TOTAL_ABOVE_PARTS)),
        ({"total": None, "reasoning": 10**9}, Totals(10, 5, 5, Contradiction.PART_EXCEEDS_WHOLE)),
        # As Moonshot counts them, all of the output and one more.
        ({"output_tokens": 77, "total": 87, "reasoning": 78}, Totals(10, 77, 77)),
        ({"output_tokens": 77, "total": None, "reasoning": 78}, Totals(10, 77, 77)),
        ({"output_tokens": 1000, "total": None, "reasoning": 1020}, Totals(10, 1000, 1000)),
        ({"output_tokens": 1000, "total": None, "reasoning": 1021}, Totals(10, 2021, 1021)),
        # Beside it all the same, where the total says so.
        ({"output_tokens": 77, "total": 165, "reasoning": 78}, Totals(10, 155, 78)),
        # The cache in the input, beside it by the total, beside it by its size.
        ({"total": 15, "cached": 4}, Totals(10, 5, 0)),
        ({"total": 19, "cached": 4}, Totals(14, 5, 0)),
        ({"total": None, "cached": 40}, Totals(50, 5, 0)),
        ({"total": 55, "cached": 40}, Totals(50, 5, 0)),
        ({"total": 15, "cached": 40}, Totals(50, 5, 0, Contradiction.TOTAL_BELOW_PARTS)),
        ({"total": None, "cached": 10**9}, Totals(10, 5, 0, Contradiction.PART_EXCEEDS_WHOLE)),
        # Both beside.
        ({"total": 58, "cached": 40, "reasoning": 3}, Totals(50, 8, 3)),
        ({"total": 22, "cached": 4, "reasoning": 3}, Totals(14, 8, 3)),
        # Sound and images beside the input, by their size and by the total.
        ({"total": None, "media": 40}, Totals(50, 5, 0)),
        ({"total": 55, "media": 40}, Totals(50, 5, 0)),
        ({"total": 15, "media": 40}, Totals(10, 5, 0)),
        ({"total": 15, "media": 4}, Totals(10, 5, 0)),
        # What does not think has heard it.
        ({"total": 99, "thinks": False}, Totals(94, 5, 0)),
        # The text tells the output, as far as the total goes.
        (
            {"input_tokens": None, "output_tokens": None, "total": 99, "text_tokens": 9},
            Totals(90, 9, 0, Contradiction.TOTAL_ALONE),
        ),
        (
            {"input_tokens": None, "output_tokens": None, "total": 5, "text_tokens": 9},
            Totals(0, 5, 0, Contradiction.TOTAL_ALONE),
        ),
        # An API without output.
        ({"output_tokens": None, "total": 12, "has_output": False}, Totals(12, 0, 0)),
        ({"output_tokens": None, "total": None, "has_output": False}, Totals(10, 0, 0)),
    ],
)
def test_parts_beside_their_whole(facts, totals):
    assert reconcile(**({"input_tokens": 10, "output_tokens": 5} | facts)) == totals


COUNT = st.integers(0, 40)


FACTS = st.fixed_dictionaries(
    {
        **dict.fromkeys(("input_tokens", "output_tokens", "reasoning", "cached", "media"), COUNT),
        "total": st.none() | COUNT,
        **dict.fromkeys(("has_output", "thinks"), st.booleans()),
    }
)


@given(FACTS)
def test_nothing_that_was_told_is_lost(facts):
    totals = reconcile(**facts)
    assert totals is not None
    names = ("input_tokens", "output_tokens", "reasoning", "cached", "media", "total")
    input_tokens, output_tokens, reasoning, cached, media, total = (facts[name] for name in names)
    assert totals.input_tokens >= max(input_tokens, cached)
    # But for a token or two by which a part may exceed its whole.
    assert totals.output_tokens >= max(output_tokens, reasoning - 2, totals.reasoning_tokens)
    assert totals.reasoning_tokens >= reasoning - 2
    assert totals.input_tokens + totals.output_tokens >= (total or 0)
    # What agrees is taken as it is.
    agrees = total in (None, input_tokens + output_tokens)
    if agrees and reasoning <= output_tokens and max(cached, media) <= input_tokens:
        assert totals == Totals(input_tokens, output_tokens, reasoning)
