"""The price book: integer rates by model name, from the operator's own file and from `genai-prices`."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from budget_middleware.core.money import MAX_USD, nanos_from_usd
from budget_middleware.core.pricing import Rate, Rates, Unit
from budget_middleware.prices.own import rates_of_price_map
from budget_middleware.prices.published import load_published, published_rates
from budget_middleware.prices.units import OwnPrice, SameAs

# Model names come from clients: longer ones are not looked up, and so many answers are kept.
MAX_MODEL_NAME: Final = 256
MAX_CACHED: Final = 1024
# Some prices depend on the time of day, and a look-up takes up to 100 us.
LOOKUP_LIFE_S: Final = 60

PriceSource = Callable[[str], str | Mapping[str, object] | None]
"""From a model's name to the model that costs the same, or to its prices as an entry of LiteLLM's price map; None: it
knows nothing of it. Asked in the event loop, so it must not wait; its answer is kept for a minute."""

_log = logging.getLogger("budget_middleware")


@dataclass(frozen=True, slots=True)
class UnknownModel:
    """What a model costs that the book does not know: `rates`, or None to reject it."""

    rates: Rates | None

    @property
    def rejects(self) -> bool:
        """Whether a request for such a model is refused where a limit binds it."""
        return self.rates is None


def parse_unknown_model(text: str) -> UnknownModel:
    """Read `reject`, `free` or `IN/OUT` in USD per million tokens; one-line ValueError for anything else."""
    if text == "reject":
        return UnknownModel(None)
    price_in, slash, price_out = ("0", "/", "0") if text == "free" else text.partition("/")
    try:
        nanos = [nanos_from_usd(price) for price in (price_in, price_out) if slash]
    except ValueError:
        nanos = []
    if not nanos or min(nanos) < 0:
        raise ValueError(
            f"{text[:40]!r} is no price for unknown models; accepted is reject, free or IN/OUT in USD"
            f" per million tokens, each 0 to {MAX_USD}, such as 2.5/10"
        )
    by_unit = {Unit.INPUT: Rate(nanos[0]), Unit.OUTPUT: Rate(nanos[1])}
    return UnknownModel(Rates(model="", by_unit=by_unit))


class PriceBook:
    """Rates by model name. Own prices win, then the `source`, then `genai-prices`, then what an unknown model costs."""

    def __init__(
        self,
        own: Mapping[str, OwnPrice],
        *,
        unknown: UnknownModel,
        source: PriceSource | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._own = own
        self._own_by_lower = {name.lower(): rates for name, rates in own.items()}
        self._unknown = unknown
        self._source = source
        self._clock = clock
        self._known_in_minute = lru_cache(MAX_CACHED)(self._look_up)
        load_published()

    def resolve(self, model: str, *, provider: str = "") -> Rates | None:
        """The rates of a model now; None if it is unpriced. Never raises, whatever the name.

        A published model is looked up at the `provider` that its name begins with, then at the one given.
        """
        rates = None
        if len(model) <= MAX_MODEL_NAME:
            rates = self._known_in_minute(model, provider, int(self._clock()) // LOOKUP_LIFE_S)
        return rates or self._unknown.rates

    def _look_up(self, model: str, provider: str, minute: int) -> Rates | None:
        price = self._own_price(model) or self._sourced(model)
        # The source may name an alias of the file, and no alias of the file stands for another.
        for _ in range(2):
            if isinstance(price, SameAs):
                model = price.model
                price = self._own_price(model)
        at = datetime.fromtimestamp(minute * LOOKUP_LIFE_S, UTC)
        return price if isinstance(price, Rates) else published_rates(model.lower(), provider, at=at)

    def _own_price(self, model: str) -> OwnPrice | None:
        return self._own.get(model) or self._own_by_lower.get(model.lower())

    def _sourced(self, model: str) -> OwnPrice | None:
        try:
            match self._source(model) if self._source else None:
                case None:
                    return None
                case str() as other:
                    return SameAs(other)
                case prices:
                    return rates_of_price_map(model, {name: _exact(value) for name, value in prices.items()})
        # It is the user's code, and a lookup never raises.
        except Exception as error:  # noqa: BLE001
            _log.warning("price_source failed for %r: %r", model, error)
            return None


def _exact(value: object) -> object:
    """A price that a program holds as a float is the number that it is written as."""
    return Decimal(str(value)) if isinstance(value, float) else value
