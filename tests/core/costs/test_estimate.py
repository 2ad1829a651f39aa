import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.costs import estimate
from budget_middleware.core.costs.estimate import (
    LARGEST_CONTEXT_TOKENS,
    EstimateBy,
    output_ceiling,
    output_tokens_seen,
    tokens_from_normalizing,
    tokens_from_text_bytes,
)
from tests.apis.timing import cpu_ms

EXPECTED, WORST = EstimateBy.EXPECTED, EstimateBy.WORST


@pytest.mark.parametrize(("n_bytes", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2)])
def test_four_bytes_are_a_token(n_bytes, tokens):
    assert tokens_from_text_bytes(n_bytes) == tokens


@pytest.mark.parametrize(("text_bytes", "chunks", "tokens"), [(0, 0, 0), (3, 3, 3), (40, 3, 10)])
def test_a_chunk_holds_a_token_at_least(text_bytes, chunks, tokens):
    assert output_tokens_seen(text_bytes=text_bytes, chunks=chunks) == tokens


@pytest.mark.parametrize(
    ("asked", "model_ceiling", "choices", "expected", "worst"),
    [
        (None, None, 1, 1024, 1024),
        (None, 512, 1, 512, 512),
        (None, 4096, 1, 1024, 4096),
        (0, 4096, 1, 0, 0),
        (50, 512, 1, 50, 50),
        (10**9, 512, 1, 512, 512),
        (10**9, None, 1, LARGEST_CONTEXT_TOKENS, LARGEST_CONTEXT_TOKENS),
        (50, 512, 3, 150, 150),
        (None, 4096, 3, 3072, 12_288),
    ],
)
def test_output_ceiling(asked, model_ceiling, choices, expected, worst):
    facts = {"asked": asked, "default": 1024, "model_ceiling": model_ceiling, "choices": choices}
    assert output_ceiling(**facts, by=EXPECTED) == expected
    assert output_ceiling(**facts, by=WORST) == worst


@pytest.mark.parametrize("before", ["", "x" * 100_000])
def test_combining_marks_are_normalized_in_linear_time(before):
    """In one piece these take ten seconds."""
    text = before + "a" + "\u0315\u0300" * 50_000
    assert cpu_ms(lambda: tokens_from_normalizing([text]), runs=1) < 500


@given(st.text("ae\u0300\u0301\u0315\u0323\u1100\u1161\u11a8\ufdfa\u00e9\u0344", max_size=40), st.integers(1, 9))
def test_pieces_grow_no_less_than_the_whole(text, size):
    with pytest.MonkeyPatch.context() as patch:
        whole = tokens_from_normalizing([text])
        patch.setattr(estimate, "_PIECE_CHARS", size)
        assert tokens_from_normalizing([text]) >= whole
