import pytest

from budget_middleware.core.estimate import (
    LARGEST_CONTEXT_TOKENS,
    EstimateBy,
    output_ceiling,
    output_tokens_seen,
    tokens_from_text_bytes,
)

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
