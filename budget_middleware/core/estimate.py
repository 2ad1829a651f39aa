"""How many tokens a request may use, told from its bytes and the maximum it names."""

from typing import Final

from budget_middleware.core.money import ceil_div

# Tokenizers come to about four bytes a token for English text and code; other scripts take two or three bytes
# a character and a token for each one or two. Close enough to hold by: the cost is booked from the usage.
BYTES_PER_TOKEN: Final = 4


def tokens_from_text_bytes(n_bytes: int) -> int:
    """The expected tokens of so many bytes of UTF-8 text."""
    return ceil_div(n_bytes, BYTES_PER_TOKEN)


def output_tokens_seen(*, text_bytes: int, chunks: int) -> int:
    """The expected tokens of an answer so far; every chunk with text holds a token at least."""
    return max(tokens_from_text_bytes(text_bytes), chunks)


def output_ceiling(*, asked: int | None, default: int, model_ceiling: int | None, choices: int) -> int:
    """The most output tokens to expect of all choices: what the request asks for, else `default`.

    A model cannot answer at greater length than its own ceiling, whatever was asked.
    """
    tokens = default if asked is None else asked
    if model_ceiling is not None:
        tokens = min(tokens, model_ceiling)
    return tokens * choices
