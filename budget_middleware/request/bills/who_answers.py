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

from functools import partial
from typing import NamedTuple

from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.pricing import Rates, cost_nanos
from budget_middleware.core.costs.usage import Usage
from budget_middleware.prices import Moment, PriceBook
from budget_middleware.request.quotes.quote import Quote
from budget_middleware.request.quotes.shown_model import shown_model


class Answered(NamedTuple):
    """A model by which a call is billed in place of what was asked: its name in the answer, and its rates.

    ``is_known``: it has a price of its own.
    """

    model: str
    rates: Rates
    is_known: bool = True


def shown_answered(answered: Answered, quote: Quote) -> str:
    """Who has answered, in the reason of the booking, where that is not what was asked for."""
    return f"asked {shown_model(quote.ask.model or '')}, answered by {shown_model(answered.model)}"


def who_answered(seen: Seen, *, quote: Quote, prices: PriceBook, moment: Moment) -> Answered | None:
    """Who has answered a request, by the prices of its estimate; None if what was asked is to be billed."""
    asked = quote.ask.model
    if not seen.served_model and not seen.earlier_models and (not seen.model or seen.model == asked):
        # As most answers: by the very name that was asked for, or by none.
        return None
    named = partial(_named, seen=seen, quote=quote, prices=prices, moment=moment)
    if seen.served_model:
        found = named(seen.served_model)
        if found is not None and found.is_known:
            return found
    if not seen.earlier_models:
        return named(seen.model) if seen.model else None
    answered: list[Answered] = []
    for name in (seen.model, *seen.earlier_models):
        if name and (found := named(name)) is not None:
            answered.append(found)
        elif name and quote.rates is not None:
            answered.append(Answered(name, quote.rates))
    usage = seen.usage_so_far(quote.ask.input)
    return max(answered, key=lambda each: cost_nanos(each.rates, usage), default=None)


def rates_of_extra_call(
    model: str, used: Usage, *, seen: Seen, quote: Quote, prices: PriceBook, moment: Moment
) -> Rates | None:
    """The rates of a model that was called beside the one that answered, and has used so much; None if it is what was
    asked, or has no price of its own.
    """
    found = _named(model, used, seen=seen, quote=quote, prices=prices, moment=moment)
    return found.rates if found is not None else None


def _named(
    model: str, used: Usage | None = None, *, seen: Seen, quote: Quote, prices: PriceBook, moment: Moment
) -> Answered | None:
    """The model of a name in the answer. ``used``: by it alone, if that is not the answer's own usage."""
    ask = quote.ask
    candidates = prices.resolve_answer(
        model,
        asked=ask.model or "",
        provider=ask.provider,
        moment=moment,
        # After a fallback the price of what was asked says nothing, even if the operator has set it.
        is_only_name=not quote.other_models and not seen.has_fallen_back,
    )
    if len(candidates) <= 1:
        return Answered(model, candidates[0]) if candidates else None
    usage = seen.usage_so_far(ask.input) if used is None else used
    return Answered(model, max(candidates, key=lambda rates: cost_nanos(rates, usage)), is_known=False)


def is_more_expensive(rates: Rates, than: Rates) -> bool:
    """Whether anything that these rates price costs more than by the others."""
    return any(rate.nanos_per_million > than.of(unit).nanos_per_million for unit, rate in rates.by_unit.items())
