"""Names behind which one of several models answers: `one_of` in the prices file."""

from pathlib import Path

import pytest

from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.prices import PriceBook, UnknownModel, load_prices

CHEAP = "[models.cheap]\ninput = 1\noutput = 2\n"


def book(tmp_path: Path, text: str) -> PriceBook:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    return PriceBook(load_prices(path), unknown=UnknownModel(None))


def test_a_router_costs_what_its_most_expensive_model_does_under_its_own_name(tmp_path: Path):
    prices = book(tmp_path, f'{CHEAP}[models."model-router"]\none_of = ["cheap", "gpt-4o", "gpt-4o-mini"]\n')
    found = prices.find("Model-Router")
    assert found is not None
    assert found.rates.model == "Model-Router"
    assert found.rates.of(UsageClass.OUTPUT).nanos_per_million == 10_000_000_000
    assert found.rule == "the most expensive of 3 models: gpt-4o"
    assert prices.targets_of("model-router") == ("cheap", "gpt-4o", "gpt-4o-mini")
    assert prices.targets_of("gpt-4o") == ()


def test_a_target_may_be_an_alias(tmp_path: Path):
    prices = book(tmp_path, '[models.fast]\nsame_as = "gpt-4o"\n[models.auto]\none_of = ["fast"]\n')
    rates = prices.resolve("auto")
    assert rates is not None
    assert rates.of(UsageClass.INPUT).nanos_per_million == 2_500_000_000


@pytest.mark.parametrize(
    "entry",
    [
        "one_of = []",
        'one_of = "gpt-4o"',
        "one_of = [1]",
        'one_of = ["gpt-4o", ""]',
        'one_of = ["gpt-4o"]\ninput = 1',
        'one_of = ["nobodys"]',
        'one_of = ["r"]',
        'one_of = ["other"]\n[models.other]\none_of = ["gpt-4o"]',
    ],
)
def test_what_is_no_list_of_priced_models_is_refused_in_one_line(tmp_path: Path, entry: str):
    with pytest.raises(ValueError, match=r"^[^\n]*model 'r': one_of is [^\n]*; accepted is [^\n]*$"):
        book(tmp_path, f"[models.r]\n{entry}\n")
