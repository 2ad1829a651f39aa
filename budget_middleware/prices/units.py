"""What the sources of prices have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from budget_middleware.core.costs.pricing import Rates, UsageClass
from budget_middleware.core.costs.usage import FEES
from budget_middleware.core.money import nanos_from_usd

MILLION: Final = 1_000_000
# Names come from clients: so many answers are kept.
MAX_CACHED: Final = 1024

# What a call can be billed by alone. A model without any of these has no price that any call would be billed at.
SELLS_BY: Final = frozenset(
    {
        UsageClass.INPUT,
        UsageClass.OUTPUT,
        UsageClass.CHARACTER,
        UsageClass.AUDIO_MS,
        UsageClass.IMAGE,
        UsageClass.RERANK_SEARCH,
        UsageClass.CALL,
        UsageClass.VIDEO_MS,
    }
)


JOB_UNITS: Final = frozenset({UsageClass.CALL, UsageClass.VIDEO_MS, UsageClass.TRAINING, UsageClass.TRAINING_MS})
"""What jobs are sold by, beside the tokens of calls that they make."""


@dataclass(frozen=True, slots=True)
class SameAs:
    """A model, an alias mostly, that costs what another one costs, whatever that is at the time."""

    model: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """A router's name: one of these models answers, and nobody knows which before it does."""

    models: tuple[str, ...]


PER: Final[Mapping[UsageClass, int]] = {
    UsageClass.AUDIO_MS: 3_600_000,
    UsageClass.VIDEO_MS: 1_000,
    UsageClass.TRAINING_MS: 3_600_000,
    **dict.fromkeys((UsageClass.IMAGE, UsageClass.RERANK_SEARCH, UsageClass.CALL, *FEES), 1),
}
"""Of so many of the unit is a price of the own file, and of our own lists, where it is not a million."""

OwnPrice = Rates | SameAs | OneOf


def nanos_per_million(usd: Decimal, *, per: int) -> int:
    """The rate of a price for so many; what is above 0 stays above 0, so that rounding makes no model free."""
    return max(nanos_from_usd(usd * MILLION / per), int(usd > 0))


def exact_number(value: object) -> object:
    """A price that a program holds as a float is the number that it is written as."""
    return Decimal(str(value)) if isinstance(value, float) else value


def price_rank(rates: Rates) -> int:
    """How expensive rates are next to others that are sold by the same units."""
    return sum(rates.of(unit).nanos_per_million for unit in SELLS_BY & rates.by_unit.keys())
