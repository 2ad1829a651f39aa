"""The price book: integer rates by model name, from the operator's own file and from `genai-prices`."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from budget_middleware.core.money import MAX_USD, nanos_from_usd
from budget_middleware.core.pricing import Rate, Rates, UsageClass
from budget_middleware.prices.gaps import Gaps
from budget_middleware.prices.price_map import rates_of_price_map
from budget_middleware.prices.published import PriceList, load_published, newest_list, pinned_to
from budget_middleware.prices.resolving import BuiltIn, Found, Source, resolve
from budget_middleware.prices.spelling import as_answered, is_own_server, is_same_model
from budget_middleware.prices.units import MAX_CACHED, OwnPrice, SameAs, exact_number

# Model names come from clients: longer ones are not looked up.
MAX_MODEL_NAME: Final = 256
# Some prices depend on the time of day, and a look-up takes up to 100 us.
LOOKUP_LIFE_S: Final = 60
OWN: Final = "BUDGET_PRICES"
CODE: Final = "price_source"
UNKNOWN: Final = "BUDGET_UNKNOWN_MODEL"
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
    by_unit = {UsageClass.INPUT: Rate(nanos[0]), UsageClass.OUTPUT: Rate(nanos[1])}
    return UnknownModel(Rates(model="", by_unit=by_unit, source=UNKNOWN))


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
        self._unknown = unknown
        self._source = source
        self._lists = (*lists, BuiltIn(), Gaps())
        self._clock = clock
        self._known_at = lru_cache(MAX_CACHED)(self._look_up)
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
        found = self.find(model, provider=provider, moment=moment)
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

    def resolve_answer(
        self, answered: str, *, asked: str, provider: str, moment: Moment, is_only_name: bool
    ) -> Rates | None:
        """The rates of the model that an answer names; None if what was asked is to be billed.

        `moment` is that of the estimate. Where the request named several models (not `is_only_name`), nobody knows
        which of them was served but by the answer.
        """
        if not answered or max(len(answered), len(asked)) > MAX_MODEL_NAME:
            return None
        return self._answered_at(answered, asked, provider, moment, is_only_name)

    def _look_up_answer(
        self, answered: str, asked: str, provider: str, moment: Moment, is_only_name: bool
    ) -> Rates | None:
        as_asked = self._known_at(asked, provider, moment) if asked else None
        # The same model by another spelling says nothing about its provider or its region.
        if as_asked is not None and is_same_model(asked, answered):
            return None
        host = ""
        if is_only_name and as_asked is not None and not self._is_operators(answered, provider, moment):
            if as_asked.source in _OPERATORS:
                return None
            host = as_asked.host
        version = as_answered(asked, answered) if is_only_name else answered
        found = self._find(version, provider, "", moment) if version != answered else None
        found = found or self._find(answered, provider, host, moment)
        if found is None or (found.source not in _OPERATORS and not found.host and is_own_server(asked)):
            return None
        return found.rates

    def _is_operators(self, model: str, provider: str, moment: Moment) -> bool:
        found = self._known_at(model, provider, moment)
        return found is not None and found.source in _OPERATORS

    def _look_up(self, model: str, provider: str, moment: Moment) -> Found | None:
        return self._find(model, provider, "", moment)

    def _find(self, model: str, provider: str, host: str, moment: Moment) -> Found | None:
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
        return Found(price, source, rule) if isinstance(price, Rates) else None

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
