"""What a counter counts, and amounts with a figure for each unit."""

from typing import NamedTuple

from budget_middleware.core.fast import FastStrEnum, maker_of
from budget_middleware.core.money import NANOS_PER_USD, usd_from_nanos


class Unit(FastStrEnum):
    """What a counter counts. Figures of a counter are integers of its unit; those of ``USD`` are nano-dollars.

    ``INFLIGHT`` counts the requests that are pending: each holds 1 and books 0.
    """

    USD = "usd"
    TOKENS = "tokens"
    REQUESTS = "requests"
    INFLIGHT = "inflight"


class Amounts(NamedTuple):
    """A figure for each unit, in the order of ``Unit``; ``usd`` is in nano-dollars."""

    usd: int = 0
    tokens: int = 0
    requests: int = 0
    inflight: int = 0

    def of(self, unit: Unit) -> int:
        return self[PLACES[unit]]


NOTHING = Amounts()
amounts_of = maker_of(Amounts)

PLACES = {unit: Amounts._fields.index(unit) for unit in Unit}
"""Where the figure of a unit stands in ``Amounts``."""


def figure_text(figure: int, unit: Unit) -> str:
    """A figure as people and scripts read it: dollars as exact decimal text, all others as whole numbers."""
    return usd_from_nanos(figure) if unit is Unit.USD else str(figure)


def format_figure(figure: int, unit: Unit) -> str:
    """A figure as a sentence has it: ``-$0.25``, ``812 tokens``."""
    if unit is Unit.USD:
        return f"{'-' if figure < 0 else ''}${usd_from_nanos(abs(figure))}"
    return f"{figure} {_noun(figure, unit)}"


def _noun(figure: int, unit: Unit) -> str:
    if unit is Unit.INFLIGHT:
        return "in flight"
    return unit.removesuffix("s") if abs(figure) == 1 else unit


def format_amounts(amounts: Amounts) -> str:
    """Those that are not 0, as a sentence has them; money where all are."""
    parts = [format_figure(figure, unit) for unit, figure in zip(Unit, amounts, strict=True) if figure]
    return " and ".join(parts) or format_figure(0, Unit.USD)


def figure_number(figure: int, unit: Unit) -> float:
    """A figure as telemetry has it: dollars as a float, all others as they are."""
    return figure / NANOS_PER_USD if unit is Unit.USD else figure
