"""What models cost: the operator's own prices, then published ones, then what an unknown model costs."""

from budget_middleware.prices.book import Moment, PriceBook, PriceSource
from budget_middleware.prices.litellm_map import PriceMap, imported_map, installed_map
from budget_middleware.prices.own import load_prices
from budget_middleware.prices.resolving import Found
from budget_middleware.prices.units import price_rank
from budget_middleware.prices.unknown import UnknownModel, parse_unknown_model

__all__ = [
    "Found",
    "Moment",
    "PriceBook",
    "PriceMap",
    "PriceSource",
    "UnknownModel",
    "imported_map",
    "installed_map",
    "load_prices",
    "parse_unknown_model",
    "price_rank",
]
