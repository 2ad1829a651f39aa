"""What of the operator's own prices can hardly be meant, though it can be read."""

from collections.abc import Iterator, Mapping
from typing import Final

from budget_middleware.core.costs.pricing import Rates, UsageClass
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.prices.units import OwnPrice

LEAST_NANOS: Final = 1_000_000
"""A tenth of a cent per million tokens: any model asks more, and for one token even the most expensive asks less."""
_SOLD: Final = (UsageClass.INPUT, UsageClass.OUTPUT)


def unlikely_prices(own: Mapping[str, OwnPrice]) -> list[str]:
    """Prices per token where those per million are asked for, and patterns in the place of names; in a line each."""
    return [line for name, price in own.items() for line in _unlikely(name, price)]


def _unlikely(name: str, price: OwnPrice) -> Iterator[str]:
    if "*" in name:
        yield f"model {name!r} has a price of its own, and stands for no other model"
    by_unit = price.by_unit if isinstance(price, Rates) else {}
    for unit in _SOLD:
        rate = by_unit.get(unit)
        if rate is not None and 0 < rate.nanos_per_million < LEAST_NANOS:
            usd = usd_from_nanos(rate.nanos_per_million)
            yield f"model {name!r}: {unit} is {usd} USD per million, which looks like a price per token"
