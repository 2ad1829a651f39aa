"""What models cost: the operator's own prices, then those of `genai-prices`, then what an unknown model costs."""

from budget_middleware.prices.book import PriceBook, PriceSource, UnknownModel, parse_unknown_model
from budget_middleware.prices.own import load_prices

__all__ = ["PriceBook", "PriceSource", "UnknownModel", "load_prices", "parse_unknown_model"]
