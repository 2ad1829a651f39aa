"""LiteLLM's own price map as a source, where LiteLLM is at work.

It is copied when the price book is made, so that a map that LiteLLM reloads, or a model that it registers later, never
changes a price between a request's estimate and its bill.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from budget_middleware.core.costs.pricing import Rates, UsageClass
from budget_middleware.prices.price_map import rates_of_price_map
from budget_middleware.prices.providers import LITELLM_PREFIXES, LITELLM_PROVIDERS, OWN_SERVERS, PREFIXES
from budget_middleware.prices.units import MAX_CACHED, exact_number

LITELLM: Final = "LiteLLM"
_FILE: Final = "model_prices_and_context_window_backup.json"
_TEXT_MODES: Final = frozenset({None, "chat", "completion", "responses"})

_log = logging.getLogger("budget_middleware")

Entries = Mapping[str, Mapping[str, object]]


class PriceMap:
    """A price map in LiteLLM's shape. What it prices at 0 is unpriced: such a 0 mostly means that nobody knows."""

    def __init__(self, entries: Entries, *, name: str = LITELLM) -> None:
        self.name = name
        self._entries = {key.lower(): entry for key, entry in entries.items()}
        self._by_tail: dict[str, list[str]] = {}
        for key in self._entries:
            self._by_tail.setdefault(key.partition("/")[2], []).append(key)
        self._rates = lru_cache(MAX_CACHED)(self._rates_of)

    def rates(self, provider: str, model: str, *, at: datetime) -> Rates | None:  # noqa: ARG002 - a map has one price
        """The rates of a model at a provider, None if the map has none."""
        for prefix in LITELLM_PREFIXES.get(provider, (f"{provider}/",)):
            key = prefix + model
            if key in self._entries and (prefix or self._is_of(key, provider)) and (rates := self._rates(key)):
                return replace(rates, provider=provider)
        return None

    def sellers(self, model: str, *, at: datetime) -> Iterator[Rates]:  # noqa: ARG002 - a map has one price
        """The rates of all that sell exactly this name."""
        for key in self._by_tail.get(model, ()):
            if rates := self._rates(key):
                prefix = key.partition("/")[0]
                yield replace(rates, provider=PREFIXES.get(prefix, prefix))

    def _is_of(self, key: str, provider: str) -> bool:
        """Whether a bare name is that of a model of the provider; `vertex_ai-…_models` are `vertex_ai`'s."""
        entry_provider = str(self._entries[key].get("litellm_provider", "")).partition("-")[0]
        return entry_provider in LITELLM_PROVIDERS.get(provider, (provider,))

    def _rates_of(self, key: str) -> Rates | None:
        entry = self._entries[key]
        if key.partition("/")[0] in OWN_SERVERS:
            return None
        try:
            rates = rates_of_price_map(key, {name: exact_number(value) for name, value in entry.items()})
        except ValueError as error:
            _log.warning("LiteLLM's price map: %s; the entry is left out", error)
            return None
        if rates is None or rates.is_free:
            return None
        # A price for the input alone is a router's fee: what answers costs besides.
        if entry.get("mode") in _TEXT_MODES and rates.of(UsageClass.OUTPUT).is_free:
            return None
        return rates


def imported_map() -> PriceMap | None:
    """The map of the LiteLLM that this process has imported, as it is now; None if it has not."""
    entries = getattr(sys.modules.get("litellm"), "model_cost", None)
    return _checked(entries) if entries is not None else None


def installed_map() -> PriceMap | None:
    """The map that the installed LiteLLM brings, read from its file: importing LiteLLM takes seconds."""
    spec = find_spec("litellm")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, _FILE)
        if path.is_file():
            return _checked(_read(path))
    return None


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("LiteLLM's price map cannot be read: %s", " ".join(str(error).split()))
        return None


def _checked(entries: object) -> PriceMap | None:
    """The map of what has the shape of one; a map of another shape is left out, and said so."""
    if not isinstance(entries, dict) or not all(isinstance(key, str) for key in entries):
        _log.warning("LiteLLM's price map has an unknown shape and is not used")
        return None
    return PriceMap({key: _copy(value) for key, value in entries.items() if isinstance(value, dict)})


def _copy(entry: Mapping[str, object]) -> dict[str, object]:
    return {name: deepcopy(value) if isinstance(value, dict | list) else value for name, value in entry.items()}
