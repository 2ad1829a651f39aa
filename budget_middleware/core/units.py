"""What a counter counts, and amounts with a figure for each unit."""

from typing import NamedTuple

from budget_middleware.core.words import Word


class Unit(Word):
    """What a counter counts. Figures of a counter are integers of its unit; those of ``USD`` are nano-dollars."""

    USD = "usd"
    TOKENS = "tokens"
    REQUESTS = "requests"


class Amounts(NamedTuple):
    """A figure for each unit, in the order of ``Unit``; ``usd`` is in nano-dollars."""

    usd: int = 0
    tokens: int = 0
    requests: int = 0

    def of(self, unit: Unit) -> int:
        return self[PLACES[unit]]


NOTHING = Amounts()

PLACES = {unit: Amounts._fields.index(unit) for unit in Unit}
"""Where the figure of a unit stands in ``Amounts``."""
