"""What is missing from the prices that were found for a model, taken from the table in `fees_and_modes`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.core.costs.pricing import Rate, Rates, UsageClass
from budget_middleware.prices.fees_and_modes import LONG_AT_AWS, MISSING, OLD_GEMINI, Missing
from budget_middleware.prices.gaps import rate_of

# A request with more tokens of input pays Amazon's rates for long ones.
_LONG: Final = 200_000
_ALWAYS_SEARCHES: Final = r"gpt-.*-search-(?:preview|api)|sonar(?!-deep)"


def with_missing(rates: Rates, name: str) -> Rates:
    """The published rates of a model, which was looked up by a name, with what the lists lack for it."""
    search = search_unit(name)
    by_unit = _with_search(rates.by_unit, search)
    if rates.provider == "aws" and LONG_AT_AWS.match(rates.model):
        by_unit = {unit: _dearer_if_long(rate, unit) for unit, rate in by_unit.items()}
    by_mode = {mode: dict(units) for mode, units in rates.by_mode.items()}
    basis_points, least_audio_ms = dict(rates.basis_points_by_mode), 0
    for missing in _missing_from(rates, name):
        for unit, usd in missing.usd.items():
            if unit is not UsageClass.WEB_SEARCH or search is unit:
                by_unit.setdefault(unit, rate_of(unit, usd))
        for mode, prices in missing.by_mode.items():
            by_mode.setdefault(mode, {unit: rate_of(unit, usd) for unit, usd in prices.items()})
        for mode, points in missing.basis_points_by_mode.items():
            if mode not in by_mode:
                basis_points.setdefault(mode, points)
        least_audio_ms = max(least_audio_ms, missing.least_audio_ms)
    return replace(
        rates,
        by_unit=by_unit,
        by_mode=by_mode,
        basis_points_by_mode=basis_points,
        least_audio_ms=least_audio_ms,
    )


def _dearer_if_long(rate: Rate, unit: UsageClass) -> Rate:
    """A rate that knows of no long inputs, with the one that they have: see LONG_AT_AWS."""
    if rate.tiers:
        return rate
    basis_points = 15_000 if unit in (UsageClass.OUTPUT, UsageClass.REASONING) else 20_000
    return Rate(rate.nanos_per_million, ((_LONG, rate.times(basis_points).nanos_per_million),))


def _missing_from(rates: Rates, name: str) -> Iterator[Missing]:
    for missing in MISSING:
        if missing.provider in ("", rates.provider) and (
            re.match(missing.models, name) or re.match(missing.models, rates.model)
        ):
            # Only a model that writes text uses tools.
            yield missing if UsageClass.OUTPUT in rates.by_unit else missing._replace(usd={}, by_mode={})


def search_unit(model: str) -> UsageClass:
    """The class that a list's price of a search belongs to: some models pay it once a request, for any number."""
    name = model.rpartition("/")[2]
    if re.match(_ALWAYS_SEARCHES, name):
        return UsageClass.REQUEST
    return UsageClass.GROUNDED_REQUEST if re.match(OLD_GEMINI, name) else UsageClass.WEB_SEARCH


def _with_search(by_unit: Mapping[UsageClass, Rate], search: UsageClass) -> dict[UsageClass, Rate]:
    """The rates, with the price of a search at the class by which this model pays for searches."""
    found = dict(by_unit)
    if search is not UsageClass.WEB_SEARCH and UsageClass.WEB_SEARCH in found:
        price = found.pop(UsageClass.WEB_SEARCH)
        # Such a price is that of a search by a tool, which is not what these models pay once a request.
        if search is not UsageClass.REQUEST:
            found[search] = price
    return found
