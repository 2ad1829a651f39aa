"""How figures of each unit are written."""

import pytest

from budget_middleware.core.model import Counter
from budget_middleware.core.units import Amounts, Unit, figure_number, figure_text, format_amounts, format_figure
from budget_middleware.core.windows import Period


def test_every_unit_has_its_amount_in_their_order():
    assert Amounts._fields == tuple(map(str, Unit))
    assert [Amounts(1, 2, 3, 4).of(unit) for unit in Unit] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("figure", "unit", "text", "said", "number"),
    [
        (250_000_000, Unit.USD, "0.25", "$0.25", 0.25),
        (-1, Unit.USD, "-0.000000001", "-$0.000000001", -1e-9),
        (812, Unit.TOKENS, "812", "812 tokens", 812),
        (-3, Unit.REQUESTS, "-3", "-3 requests", -3),
    ],
)
def test_a_figure_is_written_in_its_unit(figure: int, unit: Unit, text: str, said: str, number: float):
    assert (figure_text(figure, unit), format_figure(figure, unit), figure_number(figure, unit)) == (text, said, number)
    assert type(figure_number(figure, unit)) is (float if unit is Unit.USD else int)


@pytest.mark.parametrize(
    ("amounts", "said"),
    [
        (Amounts(), "$0.00"),
        (Amounts(usd=1_000_000_000), "$1.00"),
        (Amounts(tokens=812), "812 tokens"),
        (Amounts(inflight=8), "8 in flight"),
        (Amounts(usd=10**9, tokens=812, requests=1), "$1.00 and 812 tokens and 1 request"),
    ],
)
def test_amounts_in_a_sentence(amounts: Amounts, said: str):
    assert format_amounts(amounts) == said


def test_the_name_of_a_counter_tells_its_unit_unless_it_is_money():
    assert Counter("key:a", Period.DAY, "2026-11-24").name == "key:a|day|2026-11-24"
    assert Counter("key:a", Period.DAY, "2026-11-24", Unit.TOKENS).name == "key:a|day|2026-11-24|tokens"
