"""Who answers: the rates of the model that has answered, whatever was asked for.

Theory of operation. A gateway may serve a name by another model: it falls back, it routes, or the name is an alias. The
answer says who it was, at up to three places. The word of a gateway beside the answer (`Seen.served_model`) counts
before the name in the answer, if it has a price. Of several models that one stream names, the most expensive counts:
each has answered a part, and nobody reports which. What none of them prices is billed at what was asked.

    asked ── quote ──> held at the most expensive of: the name's own price, its operator's list (`one_of`), and
      ^                what has answered to the name before
      └── remembered, if it is more expensive than the name <── who has answered

So a free name that falls back to an expensive model is free once, and no longer.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from budget_middleware.apis.seen import Seen
from budget_middleware.core.pricing import Rates, cost_nanos
from budget_middleware.core.usage import Usage
from budget_middleware.prices import Moment, PriceBook
from budget_middleware.request.quote import Quote


class Answered(NamedTuple):
    """A model by which a call is billed in place of what was asked: its name in the answer, and its rates.

    ``is_known``: it has a price of its own.
    """

    model: str
    rates: Rates
    is_known: bool = True


class WhoAnswers:
    """Finds who has answered one request, by the prices of its estimate."""

    def __init__(self, quote: Quote, prices: PriceBook, moment: Moment) -> None:
        self._quote = quote
        self._prices = prices
        self._moment = moment
        self._has_fallen_back = False

    def answered(self, seen: Seen) -> Answered | None:
        """Who has answered; None if what was asked is to be billed."""
        used = partial(seen.usage_so_far, self._quote.ask.input)
        self._has_fallen_back = seen.has_fallen_back
        if seen.served_model:
            found = self._named(seen.served_model, used)
            if found is not None and found.is_known:
                return found
        if not seen.earlier_models:
            return self._named(seen.model, used) if seen.model else None
        names = [name for name in (seen.model, *seen.earlier_models) if name]
        usage = used()
        return max(self._all_named(names, used), key=lambda each: cost_nanos(each.rates, usage), default=None)

    def _all_named(self, names: Iterable[str], used: Callable[[], Usage]) -> Iterator[Answered]:
        for name in names:
            found = self._named(name, used)
            if found is not None:
                yield found
            elif self._quote.rates is not None:
                yield Answered(name, self._quote.rates)

    def rates_of(self, model: str, usage: Usage) -> Rates | None:
        """The rates of a model that has used so much; None if it is what was asked, or has no price of its own."""
        found = self._named(model, lambda: usage)
        return found.rates if found is not None else None

    def _named(self, model: str, used: Callable[[], Usage]) -> Answered | None:
        ask = self._quote.ask
        candidates = self._prices.resolve_answer(
            model,
            asked=ask.model or "",
            provider=ask.provider,
            moment=self._moment,
            # After a fallback the price of what was asked says nothing, even if the operator has set it.
            is_only_name=not self._quote.other_models and not self._has_fallen_back,
        )
        if len(candidates) <= 1:
            return Answered(model, candidates[0]) if candidates else None
        usage = used()
        return Answered(model, max(candidates, key=lambda rates: cost_nanos(rates, usage)), is_known=False)


def is_more_expensive(rates: Rates, than: Rates) -> bool:
    """Whether anything that these rates price costs more than by the others."""
    return any(rate.nanos_per_million > than.of(unit).nanos_per_million for unit, rate in rates.by_unit.items())
