"""Names that have no price of their own: `same_as` in the prices file, and `price_source`."""

from decimal import Decimal
from typing import Any

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.prices import PriceBook, UnknownModel, load_prices
from budget_middleware.testing import ScriptedApp, call
from tests.request.wire import ask, bearer, completion, usage

REJECT = UnknownModel(None)
FILE = """
[models.mine]
input = 1
output = 2
[models.own-alias]
same_as = "mine"
[models.Fast]
same_as = "gpt-4o"
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(FILE)
    return load_prices(path)


def output_usd(book, model):
    rates = book.resolve(model)
    return rates and Decimal(rates.of(UsageClass.OUTPUT).nanos_per_million) / nanos_from_usd(1)


@pytest.mark.parametrize(("name", "model", "usd"), [("own-alias", "mine", 2), ("fast", "gpt-4o", 10)])
def test_an_alias_is_priced_and_named_as_its_model(own, name, model, usd):
    book = PriceBook(own, unknown=REJECT)
    assert output_usd(book, name) == usd
    assert book.resolve(name) == book.resolve(model)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('same_as = "nobody-knows-it"', "accepted is a model that has prices here or in the built-in book"),
        ('same_as = "a"', "accepted is a model that has prices"),
        ('same_as = "b"\n[models.b]\nsame_as = "gpt-4o"', "same_as is 'b'; accepted is a model that has prices"),
        ("same_as = 1", "same_as is '1'; accepted is the name of another model"),
        ('same_as = "gpt-4o"\ninput = 1', "and no other field with it"),
    ],
)
def test_an_alias_that_stands_for_nothing_is_a_mistake(tmp_path, entry, told):
    path = tmp_path / "prices.toml"
    path.write_text(f"[models.a]\n{entry}\n")
    with pytest.raises(ValueError, match=rf"prices\.toml: model 'a': .*{told}") as refused:
        load_prices(path)
    assert "\n" not in str(refused.value)


SOLD = {"input_cost_per_token": 1e-06, "output_cost_per_token": 7e-06, "model": "openai/x", "rpm": 3}
TOLD: dict[str, Any] = {
    "a": "openai/gpt-4o",
    "b": "own-alias",
    "gpt-4o": "gpt-4o",
    "c": SOLD,
    "d": {"rpm": 3},
    "e": "nobody-knows-it",
    "mine": "gpt-4o",
}


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        pytest.param("a", 10, id="a published model at its provider"),
        pytest.param("b", 2, id="an alias of the file"),
        pytest.param("gpt-4o", 10, id="itself"),
        pytest.param("c", 7, id="prices"),
        pytest.param("d", None, id="an entry without prices"),
        pytest.param("e", None, id="a model without a price"),
        pytest.param("mine", 2, id="the file goes first"),
        pytest.param("gpt-4o-mini", Decimal("0.6"), id="nothing is told"),
    ],
)
def test_a_source_tells_the_model_or_its_prices(own, name, usd):
    def source(model: str) -> Any:
        return TOLD.get(model)

    assert output_usd(PriceBook(own, unknown=REJECT, source=source), name) == usd


@pytest.mark.parametrize("answer", [KeyError("x"), {"input_cost_per_token": "dear"}, 3])
def test_a_source_that_fails_is_logged_and_the_book_decides(caplog, answer):
    def source(_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    book = PriceBook({}, unknown=REJECT, source=source)
    for _ in range(2):
        assert output_usd(book, "gpt-4o") == 10
    assert [record.message.startswith("price_source failed for 'gpt-4o'") for record in caplog.records] == [True]


async def test_a_gateway_serves_and_limits_an_alias():
    app = ScriptedApp(*completion(1_000, usage=usage(1_000, 1)))
    guard = BudgetMiddleware(app, limits="model:gpt-4o=0.0201/day", price_source={"fast": "gpt-4o"}.get)
    answers = [await call(guard, ask(1_000, model="fast"), headers=bearer()) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0].headers["x-budget-cost-usd"] == "0.0100025"
    await guard.ledger.drain()
