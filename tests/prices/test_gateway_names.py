"""Names of models as gateways write them find the price of the provider that serves them."""

from pathlib import Path

import pytest

from budget_middleware.prices import PriceBook, UnknownModel

LINES = (Path(__file__).parent / "gateway_names.txt").read_text(encoding="utf-8").splitlines()
NAMES = dict(line.split() for line in LINES if line and not line.startswith("#"))
PRICED = {name: provider.split("|") for name, provider in NAMES.items() if provider != "-"}


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook({}, unknown=UnknownModel(None))


def found_in(book: PriceBook) -> dict[str, str]:
    rates = {name: book.resolve(name) for name in PRICED}
    return {name: found.provider for name, found in rates.items() if found is not None}


def test_at_least_98_percent_of_the_names_have_a_price(book):
    found = found_in(book)
    missed = sorted(PRICED.keys() - found.keys())
    print(f"{len(found)} of {len(PRICED)} names have a price; without: {missed}")
    assert len(PRICED) > 450
    assert len(missed) <= 0.02 * len(PRICED), missed


def test_each_has_the_price_of_the_provider_that_serves_it(book):
    wrong = {name: provider for name, provider in found_in(book).items() if provider not in PRICED[name]}
    assert wrong == {}


def test_what_nobody_sells_has_none(book):
    assert [name for name in NAMES.keys() - PRICED.keys() if book.resolve(name) is not None] == []


def test_each_stands_once():
    names = [line.split()[0] for line in LINES if line and not line.startswith("#")]
    assert sorted(names) == sorted(set(names))
