"""The price book: integer rates by model name, from the operator's own file and from `genai-prices`."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from budget_middleware.core.costs.job_kinds import JobKind
from budget_middleware.core.costs.pricing import Rates, UsageClass
from budget_middleware.prices.gaps import Gaps
from budget_middleware.prices.price_map import rates_of_price_map
from budget_middleware.prices.published import PriceList, load_published, newest_list, pinned_to
from budget_middleware.prices.resolving import BuiltIn, Found, Source, resolve
from budget_middleware.prices.spelling import as_answered, is_own_server, is_same_model
from budget_middleware.prices.units import JOB_UNITS, MAX_CACHED, OneOf, OwnPrice, SameAs, exact_number, price_rank
from budget_middleware.prices.unknown import UnknownModel

# Model names come from clients: longer ones are not looked up.
MAX_MODEL_NAME: Final = 256
# Some prices depend on the time of day, and a look-up takes up to 100 us.
LOOKUP_LIFE_S: Final = 60
OWN: Final = "BUDGET_PRICES"
CODE: Final = "price_source"
_OPERATORS: Final = frozenset({OWN, CODE})

PriceSource = Callable[[str], str | Mapping[str, object] | None]
"""From a model's name to the model that costs the same, or to its prices as an entry of LiteLLM's price map; None: it
knows nothing of it. Asked in the event loop, so it must not wait; its answer is kept for a minute."""

_log = logging.getLogger("budget_middleware")


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A minute, for prices may depend on the time of day, and the newest published list in it. One object a minute."""

    minute: int
    price_list: PriceList

    @property
    def at(self) -> datetime:
        """Its beginning."""
        return datetime.fromtimestamp(self.minute * LOOKUP_LIFE_S, UTC)


class PriceBook:
    """Rates by model name. Own prices win, then the `source`, then the published `lists` in their order, then what an
    unknown model costs.

    Own prices and LiteLLM's are as they were when the book was made. What `genai-prices` publishes may change from one
    minute to the next, and a request is billed at the moment of its estimate: no change of a price falls between.
    """

    def __init__(
        self,
        own: Mapping[str, OwnPrice],
        *,
        unknown: UnknownModel,
        source: PriceSource | None = None,
        lists: Sequence[Source] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._own = own
        self._own_by_lower = {name.lower(): rates for name, rates in own.items()}
        # Whether any name has `targets_of`.
        self.lists_targets = any(isinstance(price, OneOf) for price in own.values())
        self._unknown = unknown
        self._source = source
        self._lists = (*lists, BuiltIn(), Gaps())
        self._clock = clock
        self._known_at = lru_cache(MAX_CACHED)(self._find)
        self._answered_at = lru_cache(MAX_CACHED)(self._look_up_answer)
        self._moment = Moment(0, newest_list())
        load_published()

    @property
    def moment(self) -> Moment:
        """What prices depend on besides names, now."""
        minute = int(self._clock()) // LOOKUP_LIFE_S
        if minute != self._moment.minute:
            self._moment = Moment(minute, newest_list())
        return self._moment

    def resolve(self, model: str, *, provider: str = "", moment: Moment | None = None) -> Rates | None:
        """The rates of a model now, or at a moment; None if it is unpriced. Never raises, whatever the name.

        A published model is looked up at the `provider` that its name begins with, then at the one given.
        """
        found = self._known_at(model, provider, moment or self.moment) if len(model) <= MAX_MODEL_NAME else None
        return found.rates if found else self._unknown.rates

    def find(self, model: str, *, provider: str = "", moment: Moment | None = None) -> Found | None:
        """As `resolve`, with the rule and the source; None for a model that only BUDGET_UNKNOWN_MODEL prices."""
        return self._known_at(model, provider, moment or self.moment) if len(model) <= MAX_MODEL_NAME else None

    def find_all(self, model: str, *, provider: str = "") -> tuple[Found, ...]:
        """What counts for a name, then what each of the other lists alone would say."""
        counts = self.find(model, provider=provider)
        if counts is None:
            return ()
        with pinned_to(self._moment.price_list):
            alone = [resolve(model, (source,), at=self._moment.at, provider=provider) for source in self._lists]
        return (counts, *(other for other in alone if other is not None and other.source != counts.source))

    def has_price_of_call(self, name: str) -> bool:
        """Whether the operator has set what one call of a tool or an agent costs."""
        found = self.find(name)
        return found is not None and found.source in _OPERATORS and UsageClass.CALL in found.rates.by_unit

    def price_of_job(self, kind: JobKind, model: str, *, provider: str = "") -> Rates | None:
        """What a job of a kind costs with a model; None for one that nobody sells.

        It is the operator's price of the two (`videos/sora-2`), else the price of the model, else the operator's of the
        kind; so is what is held at most. The name stays that of the model, whose limits bind.
        """
        sold = self.find(model, provider=provider) if model else None
        of_both = self._set_by_operator(f"{kind}/{model}") if model else None
        of_model = sold.rates if sold else None
        in_order = [rates for rates in (of_both, of_model, self._set_by_operator(kind)) if rates]
        priced = next((rates for rates in in_order if not rates.by_unit.keys().isdisjoint(JOB_UNITS)), None)
        most = next((rates.hold_at_most_nanos for rates in in_order if rates.hold_at_most_nanos is not None), None)
        if priced is None and most is None:
            return None
        rates = priced or Rates(model="", by_unit={})
        return replace(rates, model=sold.rates.model if sold else model, hold_at_most_nanos=most)

    def _set_by_operator(self, name: str) -> Rates | None:
        found = self.find(name)
        return found.rates if found is not None and found.source in _OPERATORS else None

    def priced_calls(self, name: str) -> tuple[str, ...]:
        """The operator's names of a protocol's calls (`name`, `name/...`) with a price, the most expensive first."""
        called = [own for own in self._own if f"{own.lower()}/".startswith(f"{name}/") and self.has_price_of_call(own)]
        rates = {own: self.resolve(own) or Rates(model="", by_unit={}) for own in called}
        return tuple(sorted(rates, key=lambda own: -rates[own].of(UsageClass.CALL).nanos_per_million))

    def targets_of(self, model: str) -> tuple[str, ...]:
        """The models of which one answers to a router's name, as the operator lists them; none for any other name."""
        price = self._own_price(model) if self._own else None
        return price.models if isinstance(price, OneOf) else ()

    def resolve_answer(
        self, answered: str, *, asked: str, provider: str, moment: Moment, is_only_name: bool
    ) -> tuple[Rates, ...]:
        """The rates that a call may be billed at whose answer names a model, the most expensive of which counts; none
        if what was asked is to be billed.

        They are those of the model that answers. One without a price costs what was asked or what
        BUDGET_UNKNOWN_MODEL says. ``moment`` is that of the estimate. Where the request named several models (not
        `is_only_name`), nobody knows which of them was served but by the answer.
        """
        if not answered or max(len(answered), len(asked)) > MAX_MODEL_NAME:
            return ()
        return self._answered_at(answered, asked, provider, moment, is_only_name)

    def _look_up_answer(
        self, answered: str, asked: str, provider: str, moment: Moment, is_only_name: bool
    ) -> tuple[Rates, ...]:
        as_asked = self._known_at(asked, provider, moment) if asked else None
        # The same model by another spelling says nothing about its provider or its region.
        if as_asked is not None and is_same_model(asked, answered):
            return ()
        host = ""
        is_asked_alone = is_only_name and not self.targets_of(asked)
        if is_asked_alone and as_asked is not None and not self._is_operators(answered, provider, moment):
            if as_asked.source in _OPERATORS:
                return ()
            host = as_asked.host
        version = as_answered(asked, answered) if is_only_name else answered
        found = self._find(version, provider, moment) if version != answered else None
        found = found or self._find(answered, provider, moment, host)
        if is_own_server(asked) and (found is None or (found.source not in _OPERATORS and not found.host)):
            return ()
        if found is not None:
            return (found.rates,)
        unknown = self._unknown.rates
        return (as_asked.rates, unknown) if as_asked is not None and unknown is not None else ()

    def _is_operators(self, model: str, provider: str, moment: Moment) -> bool:
        found = self._known_at(model, provider, moment)
        return found is not None and found.source in _OPERATORS

    def _find(self, model: str, provider: str, moment: Moment, host: str = "") -> Found | None:
        with pinned_to(moment.price_list):
            found = self._find_in_lists(model, provider, host, moment.at)
        return found and found.with_source_and_prior()

    def _find_in_lists(self, model: str, provider: str, host: str, at: datetime) -> Found | None:
        found = self._operators(model, at)
        if found is None:
            found = resolve(model, self._lists, at=at, provider=provider, host=host)
            # Where nobody is known to serve a model, it may be a server of one's own: what the operator says counts.
            if found is not None and not found.host and not self._unknown.rejects:
                return None
        return found

    def _operators(self, model: str, at: datetime) -> Found | None:
        """What the operator says that a name costs: in the file, then in the code."""
        price, source, rule = self._own_price(model), OWN, "its own name"
        if price is None:
            price, source = self._sourced(model), CODE
        # The source may name an alias of the file, and no alias of the file stands for another.
        for _ in range(2):
            if isinstance(price, SameAs):
                other = price.model
                rule = f"the same as {other}"
                price = self._own_price(other)
                if price is None:
                    found = resolve(other, self._lists, at=at)
                    # The operator has said what it costs, at any provider.
                    return replace(found, source=source, rule=f"{rule}; {found.rule}") if found else None
        if isinstance(price, OneOf):
            return self._most_expensive_of(model, price, at)
        return Found(price, source, rule) if isinstance(price, Rates) else None

    def _most_expensive_of(self, model: str, price: OneOf, at: datetime) -> Found | None:
        """What a router's name costs: what the most expensive of its models does, under the router's name."""
        found = [
            found
            for name in price.models
            if (found := self._operators(name, at) or resolve(name, self._lists, at=at)) is not None
        ]
        if not found:
            return None
        most = max(found, key=lambda each: price_rank(each.rates))
        rates = replace(most.rates, model=model)
        return Found(rates, OWN, f"the most expensive of {len(found)} models: {most.rates.model}")

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
                    return rates_of_price_map(model, {name: exact_number(value) for name, value in prices.items()})
        # It is the user's code, and a lookup never raises.
        except Exception as error:  # noqa: BLE001
            _log.warning("price_source failed for %r: %r", model, error)
            return None
