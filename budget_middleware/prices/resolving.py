"""From a name to rates: the readings of the name, asked of the published sources in their order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol

from budget_middleware.core.costs.pricing import FREE, Rate, Rates, UsageClass
from budget_middleware.prices import published
from budget_middleware.prices.gaps import GAPS
from budget_middleware.prices.missing import with_missing
from budget_middleware.prices.priors import prior_of
from budget_middleware.prices.providers import ANY_SELLER
from budget_middleware.prices.spelling import Reading, has_no_published_price, readings_of, surcharge_of
from budget_middleware.prices.units import SELLS_BY, price_rank

BUILT_IN: Final = "genai-prices"
RULES: Final = "rules"
_BASIS_POINTS: Final = 10_000


class Source(Protocol):
    """A list of prices by provider and model."""

    name: str

    def rates(self, provider: str, model: str, *, at: datetime) -> Rates | None:
        """The rates of a model at a provider, None if it has none."""

    def sellers(self, model: str, *, at: datetime) -> Iterator[Rates]:
        """The rates of all that sell exactly this name."""


@dataclass(frozen=True, slots=True)
class Found:
    """The rates of a name, and where they come from."""

    rates: Rates
    source: str
    rule: str
    # Who serves it, if the name or the request say so. Rates of the dearest seller are nobody's in particular.
    host: str = ""
    # The units and modes whose rate another source gave, because the first one has none.
    filled: Mapping[str, str] | None = None

    def source_of(self, unit: UsageClass, *, mode: str = "") -> str:
        """Who published the rate of a unit, in a mode if one is named."""
        filled = self.filled or {}
        return filled.get(mode) or filled.get(unit, self.source)

    def with_source_and_prior(self) -> "Found":
        """The same, whose rates know themselves where they come from, and what to expect of answers at first."""
        prior = self.rates.expected_output_tokens or prior_of(self.rates.model)
        rates = replace(self.rates, source=self.source, other_sources=self.filled or {}, expected_output_tokens=prior)
        return replace(self, rates=rates)


class BuiltIn:
    """The list that is installed with `genai-prices`."""

    name = BUILT_IN

    def rates(self, provider: str, model: str, *, at: datetime) -> Rates | None:
        return published.published_rates(model, provider, at=at)

    def sellers(self, model: str, *, at: datetime) -> Iterator[Rates]:
        return published.rates_of_sellers(model, at=at)


def resolve(name: str, sources: Sequence[Source], *, at: datetime, provider: str = "", host: str = "") -> Found | None:
    """The rates of the first reading that a source has a price for."""
    readings = readings_of(name, provider=provider, host=host)
    for reading in readings:
        if reading.is_free:
            if found := _free(reading):
                return found
            continue
        for n, source in enumerate(sources):
            if found := _at_source(reading, source, at=at):
                return _with_missing(_completed(found, readings, sources[n + 1 :], at=at), reading.model)
    return None if has_no_published_price(name) else _claimed(name.lower(), sources, at=at)


def _at_source(reading: Reading, source: Source, *, at: datetime) -> Found | None:
    if reading.provider == ANY_SELLER:
        rates = max(source.sellers(reading.model, at=at), key=price_rank, default=None)
    else:
        rates = source.rates(reading.provider, reading.model, at=at)
    if rates is None:
        return None
    rule, host = reading.rule, "" if reading.provider == ANY_SELLER else rates.provider or reading.provider
    if extra := surcharge_of(reading, model=rates.model):
        rates = rates.times(_BASIS_POINTS + extra)
        rule += f" +{Decimal(extra) / 100:f} %"
    return Found(rates, source.name, rule, host)


def _free(reading: Reading) -> Found | None:
    """The price 0 of a free variant, if the provider lists the model: a mark at the end of a name makes none free."""
    free = f"{reading.model}:free"
    if not any(published.lists_model(model, reading.provider) for model in (free, reading.model)):
        return None
    rates = Rates(model=free, provider=reading.provider, by_unit={UsageClass.INPUT: FREE, UsageClass.OUTPUT: FREE})
    return Found(rates, RULES, reading.rule, reading.provider)


def _claimed(name: str, sources: Sequence[Source], *, at: datetime) -> Found | None:
    """What no rule knows, at the provider that claims such names."""
    if ":" in name:
        return None
    for provider in published.claimed_by(name):
        for source in sources:
            if rates := source.rates(provider, name, at=at):
                return _with_missing(Found(rates, source.name, f"a name of {provider}", provider), name)
    return None


def _completed(found: Found, readings: Sequence[Reading], others: Sequence[Source], *, at: datetime) -> Found:
    """The rates with those of other sources for what the first one does not price, under the built-in book's name.

    Limits and metrics go by that name, and must not change when another source is installed.
    """
    if not found.host:
        return found
    for source in others:
        for reading in readings:
            other = _at_source(reading, source, at=at) if reading.provider == found.host else None
            if other is None:
                continue
            rates, theirs = found.rates, other.rates.by_unit
            extra: Mapping[UsageClass, Rate] = {}
            # Sold by another unit, it would be billed twice.
            if rates.by_unit.keys() & SELLS_BY == theirs.keys() & SELLS_BY:
                extra = {unit: rate for unit, rate in theirs.items() if unit not in rates.by_unit}
            rates = replace(
                rates,
                model=other.rates.model,
                provider=other.rates.provider,
                by_unit={**rates.by_unit, **extra},
                **_modes_of(rates, other.rates),
                context_window=rates.context_window or other.rates.context_window,
            )
            modes = rates.by_mode.keys() - found.rates.by_mode.keys()
            return replace(found, rates=rates, filled=dict.fromkeys((*extra, *modes), source.name))
    return found


def _modes_of(rates: Rates, others: Rates) -> dict[str, Any]:
    """The modes of both; of one that both have, by rates or by a factor, the first one's."""
    known = {*rates.by_mode, *rates.basis_points_by_mode}
    by_mode = {mode: units for mode, units in others.by_mode.items() if mode not in known}
    basis_points = {mode: points for mode, points in others.basis_points_by_mode.items() if mode not in known}
    return {
        "by_mode": {**by_mode, **rates.by_mode},
        "basis_points_by_mode": {**basis_points, **rates.basis_points_by_mode},
    }


def _with_missing(found: Found, name: str) -> Found:
    """The rates with the fees, modes and classes that the lists lack."""
    if found.rates.is_free:
        return found
    rates = with_missing(found.rates, name)
    units = rates.by_unit.keys() - found.rates.by_unit.keys()
    added: dict[str, str] = dict.fromkeys((*units, *(rates.by_mode.keys() - found.rates.by_mode.keys())), GAPS)
    if UsageClass.GROUNDED_REQUEST in added and UsageClass.WEB_SEARCH in found.rates.by_unit:
        # The same price, by what it is taken for.
        added[UsageClass.GROUNDED_REQUEST] = found.source_of(UsageClass.WEB_SEARCH)
    return replace(found, rates=rates, filled={**(found.filled or {}), **added})
