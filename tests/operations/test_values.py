"""Every answer is a frozen value that JSON can say; what is optional is left out, not null."""

import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from importlib import import_module
from typing import Any

import pytest

from budget_middleware import operations
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.values import (
    NOT_IN_JSON,
    OMITTED,
    Figure,
    Omitted,
    as_json,
    figure,
    format_amount,
    trace_url_of,
)


def answers() -> Iterator[type[Any]]:
    for module in pkgutil.walk_packages(operations.__path__, f"{operations.__name__}."):
        for value in vars(import_module(module.name)).values():
            is_own = isinstance(value, type) and is_dataclass(value) and value.__module__ == module.name
            # What every operation is handed is no answer.
            if is_own and not value.__name__.startswith("_") and value is not OperatorContext:
                yield value


def test_answers_are_frozen_and_have_slots():
    found = list(answers())
    assert len(found) > 20
    for answer in found:
        assert answer.__dataclass_params__.frozen, answer
        assert "__slots__" in vars(answer), answer


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    spent: Figure
    limit: Figure | None
    before: Figure | Omitted
    others: tuple[str, ...]
    age_s: float = field(default=0.0, metadata=NOT_IN_JSON)


def test_a_figure_has_its_unit_in_its_name():
    row = Row("a", figure(1), None, OMITTED, ("b",), age_s=1.5)
    assert json.dumps(as_json({"rows": [row]})) == json.dumps(
        {"rows": [{"name": "a", "spent_usd": "0.000000001", "limit_usd": None, "others": ["b"]}]}
    )
    assert as_json(Row("a", figure(-1), figure(2), figure(3), ()))["before_usd"] == "0.000000003"


@dataclass(frozen=True, slots=True)
class RowOfAUnit:
    unit: Unit
    spent: Figure
    limit: Figure | None
    held: Amounts


def test_a_figure_of_another_unit_has_that_in_its_name():
    row = RowOfAUnit(Unit.TOKENS, figure(812, Unit.TOKENS), None, Amounts(usd=10**9, requests=1))
    assert as_json(row) == {
        "unit": "tokens",
        "spent_tokens": "812",
        "limit_tokens": None,
        "held_usd": "1.00",
        "held_requests": "1",
    }
    assert as_json(RowOfAUnit(Unit.USD, figure(0), figure(1), Amounts(tokens=1)))["held_usd"] == "0.00"


@pytest.mark.parametrize(
    ("amount", "unit", "sentence"),
    [
        (0, Unit.USD, "$0.00"),
        (-5 * 10**9, Unit.USD, "-$5.00"),
        (1, Unit.USD, "$0.000000001"),
        (-812, Unit.TOKENS, "-812 tokens"),
        (1, Unit.REQUESTS, "1 request"),
    ],
)
def test_a_figure_in_a_sentence(amount: int, unit: Unit, sentence: str):
    assert format_amount(figure(amount, unit)) == sentence
    assert format_amount(figure(amount, unit).negated) == format_amount(figure(-amount, unit))
    assert figure(amount, unit).is_nothing == (amount == 0)


def test_links_to_traces_that_were_sampled():
    trace, template = "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "http://traces/{trace_id}/{span_id}"
    assert trace_url_of(trace, template) == f"http://traces/{'a' * 32}/{'b' * 16}"
    assert trace_url_of(trace[:-2] + "00", template) is None
    assert trace_url_of("", template) is None
    assert trace_url_of(trace, None) is OMITTED
