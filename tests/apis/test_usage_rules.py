"""Which of the usages that one answer tells is believed, and when it is all that the answer used."""

import pytest

from budget_middleware.apis.base import Seen
from budget_middleware.apis.usage_rules import is_complete, latest
from budget_middleware.core.pricing import Usage

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
