"""The prices that `genai-prices` publishes. Only this module imports it, and with the first use.

It takes as long to import as a third of this package, and most commands and a guard with prices of its own need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from budget_middleware.core.costs.pricing import Rate, Rates, UsageClass
from budget_middleware.core.costs.usage import FEES
from budget_middleware.prices.providers import PRICED_APART
from budget_middleware.prices.units import MILLION, SELLS_BY, nanos_per_million

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

# UsageClass -> the names of its price, the first that is there.
_PRICES: Final = {
    UsageClass.INPUT: ("input_mtok",),
    UsageClass.CACHED_INPUT: ("cache_read_mtok",),
    UsageClass.CACHE_WRITE: ("cache_write_mtok", "cache_write_5m_mtok"),
    UsageClass.CACHE_WRITE_1H: ("cache_write_1h_mtok",),
    UsageClass.INPUT_AUDIO: ("input_audio_mtok",),
    UsageClass.CACHED_AUDIO: ("cache_audio_read_mtok",),
    UsageClass.INPUT_IMAGE: ("input_image_mtok",),
    UsageClass.CACHED_IMAGE: ("cache_image_read_mtok",),
    UsageClass.OUTPUT: ("output_mtok",),
    UsageClass.REASONING: ("output_reasoning_mtok",),
    UsageClass.OUTPUT_AUDIO: ("output_audio_mtok",),
    UsageClass.OUTPUT_IMAGE: ("output_image_mtok",),
    UsageClass.INPUT_VIDEO: ("input_video_mtok",),
    UsageClass.OUTPUT_VIDEO: ("output_video_mtok",),
    UsageClass.CHARACTER: ("input_mchars",),
    UsageClass.AUDIO_MS: ("input_audio_hours", "audio_hours"),
    UsageClass.RERANK_SEARCH: ("rerank_searches_kcount",),
    UsageClass.WEB_SEARCH: ("web_searches_kcount",),
    UsageClass.SOCIAL_SEARCH: ("social_searches_kcount",),
    UsageClass.FILE_SEARCH: ("storage_searches_kcount",),
    UsageClass.CODE_EXECUTION: ("code_executions_kcount",),
    UsageClass.REQUEST: ("requests_kcount",),
}
# Of so many of the unit, where it is not a million.
_PER: Final = {UsageClass.AUDIO_MS: 3_600_000, **dict.fromkeys((UsageClass.RERANK_SEARCH, *FEES), 1_000)}
# Mode -> the conditions under which `genai-prices` has prices of it.
_MODES: Final = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "batch": {"processing": "batch"},
}


# The list to look at instead of the newest.
_pinned: ContextVar[PriceList | None] = ContextVar("budget_middleware_price_list", default=None)


class PriceList:
    """One edition of the published prices. (Snapshots themselves are not hashable.)"""

    def __init__(self, snapshot: DataSnapshot) -> None:
        self.snapshot = snapshot

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PriceList) and self.snapshot is other.snapshot

    def __hash__(self) -> int:
        return id(self.snapshot)


def newest_list() -> PriceList:
    """The edition that counts now: the bundled one, or what the app has had `genai-prices` fetch since."""
    from genai_prices.data_snapshot import get_snapshot

    return PriceList(get_snapshot())


@contextmanager
def pinned_to(price_list: PriceList) -> Iterator[None]:
    """Within this context prices are those of one edition, though a newer one may have come."""
    token = _pinned.set(price_list)
    try:
        yield
    finally:
        _pinned.reset(token)


def load_published() -> None:
    """Load the bundled data, which takes some 30 ms: at start, not inside the first request."""
    _sellers(newest_list())


def _list() -> PriceList:
    return _pinned.get() or newest_list()


def published_rates(model: str, provider_id: str, *, at: datetime) -> Rates | None:
    """The rates of a model at a provider, None if it lists none for it."""
    snapshot = _list().snapshot
    # Not by the snapshot's own search: that remembers every name it ever missed, and names come from clients.
    provider = _provider_of(snapshot, provider_id)
    apart = PRICED_APART.get(provider_id)
    makers = None if apart is not None and apart.match(model) else snapshot.providers
    info = provider.find_model(model, all_providers=makers) if provider else None
    return _rates_of(provider, info, at) if provider and info else None


def lists_model(model: str, provider_id: str) -> bool:
    """Whether a provider lists a model, at whatever price or without one."""
    snapshot = _list().snapshot
    provider = _provider_of(snapshot, provider_id)
    return bool(provider and provider.find_model(model))


def _provider_of(snapshot: DataSnapshot, provider_id: str) -> Provider | None:
    from genai_prices.data_snapshot import find_provider_by_id

    return find_provider_by_id(snapshot.providers, provider_id)


def claimed_by(model: str) -> Iterator[str]:
    """The providers that say that a name is one of theirs."""
    for provider in _list().snapshot.providers:
        if provider.model_match and provider.model_match.is_match(model):
            yield provider.id


def rates_of_sellers(model: str, *, at: datetime) -> Iterator[Rates]:
    """The rates of each provider that lists exactly this name."""
    for provider, info in _sellers(_list()).get(model, ()):
        if rates := _rates_of(provider, info, at):
            yield rates


# Asking each of 2,000 models whether a name is its own takes 5 ms, and names come from clients.
@lru_cache(1)
def _sellers(key: PriceList) -> Mapping[str, list[tuple[Provider, ModelInfo]]]:
    sellers: dict[str, list[tuple[Provider, ModelInfo]]] = {}
    for provider in key.snapshot.providers:
        for info in provider.models:
            for name in {info.id.lower(), *_exact_names(info.match)}:
                sellers.setdefault(name, []).append((provider, info))
    return sellers


def _exact_names(clause: object) -> Iterator[str]:
    from genai_prices.types import ClauseEquals, ClauseOr

    if isinstance(clause, ClauseEquals):
        yield clause.equals.lower()
    elif isinstance(clause, ClauseOr):
        for part in clause.or_:
            yield from _exact_names(part)


def _rates_of(provider: Provider, info: ModelInfo, at: datetime) -> Rates | None:
    by_unit = _rates_by_unit(info.get_prices(at))
    if not by_unit.keys() & SELLS_BY:
        return None  # Sold by the page or not at all: no price for a unit is not the price 0.
    tiers = {tier: _rates_by_unit(info.get_prices(at, when)) for tier, when in _MODES.items()}
    return Rates(
        model=info.id,
        provider=provider.id,
        by_unit=by_unit,
        by_mode={tier: rates for tier, rates in tiers.items() if rates != by_unit},
        context_window=info.context_window,
    )


def _rates_by_unit(prices: ModelPrice) -> Mapping[UsageClass, Rate]:
    by_unit = {}
    for unit, names in _PRICES.items():
        price = next((price for name in names if (price := getattr(prices, name)) is not None), None)
        if price is not None:
            by_unit[unit] = _rate(price, per=_PER.get(unit, MILLION))
    return by_unit


def _rate(price: Decimal | TieredPrices, *, per: int) -> Rate:
    from genai_prices.types import TieredPrices

    if isinstance(price, TieredPrices):
        tiers = tuple((tier.start, nanos_per_million(tier.price, per=per)) for tier in price.tiers)
        return Rate(nanos_per_million(price.base, per=per), tiers)
    return Rate(nanos_per_million(price, per=per))
