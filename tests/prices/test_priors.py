"""What answers are taken to come to before any is known: by the operator's prices, then by the model's name."""

from pathlib import Path

import pytest

from budget_middleware.prices import PriceBook, UnknownModel, load_prices
from budget_middleware.prices.priors import REASONING_TOKENS, prior_of

THINKING = [
    "o1",
    "o1-mini",
    "o3-2025-04-16",
    "o4-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5.1",
    "deepseek-reasoner",
    "deepseek-r1",
    "deepseek/deepseek-r1:free",
    "qwen/qwq-32b",
    "magistral-medium-latest",
    "gemini-2.5-pro",
    "claude-3.7-sonnet:thinking",
    "qwen3-235b-a22b-thinking-2507",
    "Kimi-K2-Thinking",
]
OTHERS = ["gpt-4o", "gpt-4o1", "gpt-5-chat-latest", "gemini-2.5-flash", "deepseek-chat", "o10", "claude-sonnet-4-5", ""]


@pytest.mark.parametrize("model", THINKING)
def test_models_that_think_write_much(model):
    assert prior_of(model) == REASONING_TOKENS


@pytest.mark.parametrize("model", OTHERS)
def test_of_others_nothing_is_known(model):
    assert prior_of(model) is None


def book_of(path: Path, text: str) -> PriceBook:
    path.write_text(text)
    return PriceBook(load_prices(path), unknown=UnknownModel(None))


def expected_of(book: PriceBook, model: str) -> int | None:
    rates = book.resolve(model)
    assert rates is not None
    return rates.expected_output_tokens


def test_the_operators_own_word_comes_first(tmp_path: Path):
    text = (
        '[models."o3"]\ninput = 1\noutput = 1\nexpected_output_tokens = 700\n[models."my-qwq"]\ninput = 1\noutput = 1'
    )
    book = book_of(tmp_path / "prices.toml", text)
    assert expected_of(book, "o3") == 700
    assert expected_of(book, "my-qwq") is None
    assert expected_of(book, "o3-mini") == REASONING_TOKENS
    assert expected_of(book, "gpt-4o-mini") is None


@pytest.mark.parametrize("value", ["0", "-1", "1.5", '"many"', "1000000000000"])
def test_what_is_no_number_of_tokens_is_refused_in_one_line(tmp_path: Path, value: str):
    with pytest.raises(
        ValueError, match=r"model 'm': expected_output_tokens is .*; accepted is a whole number of 1 to"
    ):
        book_of(tmp_path / "prices.toml", f'[models."m"]\ninput = 1\noutput = 1\nexpected_output_tokens = {value}')
