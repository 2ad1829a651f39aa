"""The price book: integer rates by model name, from the operator's own file and from `genai-prices`."""

import json
import re
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Final, NoReturn

from genai_prices.data_snapshot import DataSnapshot, find_provider_by_id, get_snapshot
from genai_prices.types import ModelInfo, Provider, TieredPrices

from budget_middleware.core.money import MAX_USD, nanos_from_usd
from budget_middleware.core.pricing import FREE, Rate, Rates, TokenClass

# Model names come from clients: longer ones are not looked up, and so many answers are kept.
MAX_MODEL_NAME: Final = 256
MAX_CACHED: Final = 1024
# Some prices depend on the time of day, and a look-up takes up to 100 us.
LOOKUP_LIFE_S: Final = 60
# Beyond any model's window; a count above it is a slip of the pen.
MAX_TOKENS: Final = 1_000_000_000

_PUBLISHED: Final = {
    TokenClass.INPUT: "input_mtok",
    TokenClass.CACHED_INPUT: "cache_read_mtok",
    TokenClass.CACHE_WRITE: "cache_write_mtok",
    TokenClass.INPUT_AUDIO: "input_audio_mtok",
    TokenClass.CACHED_AUDIO: "cache_audio_read_mtok",
    TokenClass.OUTPUT: "output_mtok",
    TokenClass.REASONING: "output_reasoning_mtok",
    TokenClass.OUTPUT_AUDIO: "output_audio_mtok",
}
_PRICE_MAP: Final = {
    TokenClass.INPUT: "input_cost_per_token",
    TokenClass.CACHED_INPUT: "cache_read_input_token_cost",
    TokenClass.CACHE_WRITE: "cache_creation_input_token_cost",
    TokenClass.INPUT_AUDIO: "input_cost_per_audio_token",
    TokenClass.CACHED_AUDIO: "cache_read_input_audio_token_cost",
    TokenClass.OUTPUT: "output_cost_per_token",
    TokenClass.REASONING: "output_cost_per_reasoning_token",
    TokenClass.OUTPUT_AUDIO: "output_cost_per_audio_token",
}
_PRICE_MAP_TIER: Final = re.compile(r"(?P<price>\w+)_above_(?P<thousands>[0-9]{1,6})k_tokens")
_COUNTS: Final = ("max_output_tokens", "context_window")


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
    by_class = {TokenClass.INPUT: Rate(nanos[0]), TokenClass.OUTPUT: Rate(nanos[1])}
    return UnknownModel(Rates(model="", by_class=by_class))


class PriceBook:
    """Rates by model name. Own prices win, then those of `genai-prices`, then what an unknown model costs."""

    def __init__(
        self,
        own: Mapping[str, Rates],
        *,
        unknown: UnknownModel,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._own = own
        self._own_by_lower = {name.lower(): rates for name, rates in own.items()}
        self._unknown = unknown
        self._clock = clock
        self._known_in_minute = lru_cache(MAX_CACHED)(self._look_up)
        # The bundled data take some 30 ms to load: at start, not inside the first request.
        get_snapshot()

    def resolve(self, model: str) -> Rates | None:
        """The rates of a model now; None if it is unpriced. Never raises, whatever the name."""
        rates = None
        if len(model) <= MAX_MODEL_NAME:
            rates = self._known_in_minute(model, int(self._clock()) // LOOKUP_LIFE_S)
        return rates or self._unknown.rates

    def _look_up(self, model: str, minute: int) -> Rates | None:
        own = self._own.get(model) or self._own_by_lower.get(model.lower())
        return own or _published_rates(model.lower(), at=datetime.fromtimestamp(minute * LOOKUP_LIFE_S, UTC))


def _published_rates(model: str, *, at: datetime) -> Rates | None:
    found = _find_published(get_snapshot(), model)
    if found is None:
        return None
    provider, info = found
    prices = vars(info.get_prices(at))
    priced = {name: prices[key] for name, key in _PUBLISHED.items() if prices.get(key) is not None}
    by_class = {name: _published_rate(price) for name, price in priced.items()}
    if not by_class.keys() & {TokenClass.INPUT, TokenClass.OUTPUT}:
        return None  # Sold by the hour, the page or not at all: no price for a token is not the price 0.
    # With one of the two, the other does not exist: an embedding has no output.
    return Rates(
        model=info.id,
        provider=provider.id,
        by_class={TokenClass.INPUT: FREE, TokenClass.OUTPUT: FREE} | by_class,
        context_window=info.context_window,
    )


def _find_published(snapshot: DataSnapshot, model: str) -> tuple[Provider, ModelInfo] | None:
    """Find `provider/model` at its provider, else the whole name at the provider that claims it.

    Not by the snapshot's own search: that remembers every name it ever missed, and names come from clients.
    """
    prefix, _, rest = model.partition("/")
    named = find_provider_by_id(snapshot.providers, prefix) if rest else None
    candidates = [(named, rest)] if named else []
    candidates += [(p, model) for p in snapshot.providers if p.model_match and p.model_match.is_match(model)]
    for provider, name in candidates:
        if info := provider.find_model(name, all_providers=snapshot.providers):
            return provider, info
    return None


def _published_rate(price: Decimal | TieredPrices) -> Rate:
    if isinstance(price, TieredPrices):
        return Rate(_nanos(price.base), tuple((tier.start, _nanos(tier.price)) for tier in price.tiers))
    return Rate(_nanos(price))


def _nanos(usd: Decimal) -> int:
    """Nano-dollars of a price; what is above 0 stays above 0, so that rounding makes no model free."""
    return max(nanos_from_usd(usd), int(usd > 0))


def load_prices(path: str | Path) -> Mapping[str, Rates]:
    """Read own prices: TOML in USD per million tokens, or a JSON price map in LiteLLM's shape, USD per token.

    ValueError, in one line that names file, model, field and what is accepted, for a file that cannot be read
    or holds anything but prices of 0 to MAX_USD per million tokens. Entries of a price map that do not price
    both input and output tokens are left out.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        # No TOML document begins with a brace.
        read = _price_map_entries if text.lstrip().startswith("{") else _toml_entries
        return dict(read(text))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


def _toml_entries(text: str) -> Iterator[tuple[str, Rates]]:
    document = tomllib.loads(text, parse_float=Decimal)
    models = document.pop("models", {})
    if document or not isinstance(models, dict):
        raise ValueError('accepted are tables [models."NAME"] only')
    for model, entry in models.items():
        accepted = (*TokenClass, *_COUNTS)
        if not isinstance(entry, dict):
            _refuse(model, "its value", entry, "a table of prices")
        for field in (field for field in entry if field not in accepted):
            _refuse(model, field, entry[field], f"one of the fields {', '.join(accepted)}")
        if missing := [field for field in (TokenClass.INPUT, TokenClass.OUTPUT) if field not in entry]:
            _refuse(model, missing[0], None, "a price for both input and output")
        by_class = {name: Rate(_price(model, entry, name)) for name in TokenClass if name in entry}
        output, window = (_count(model, entry, field) for field in _COUNTS)
        yield model, Rates(model=model, by_class=by_class, max_output_tokens=output, context_window=window)


def _price_map_entries(text: str) -> Iterator[tuple[str, Rates]]:
    for model, entry in json.loads(text, parse_float=Decimal, parse_constant=Decimal).items():
        if model == "sample_spec":
            continue
        if not isinstance(entry, dict):
            _refuse(model, "its value", entry, "an object of prices")
        named = {name: field for name, field in _PRICE_MAP.items() if entry.get(field) is not None}
        by_class = {name: _price_map_rate(model, entry, field) for name, field in named.items()}
        if not by_class.keys() >= {TokenClass.INPUT, TokenClass.OUTPUT}:
            continue
        yield (
            model,
            Rates(
                model=model,
                provider=str(entry.get("litellm_provider", "")),
                by_class=by_class,
                max_output_tokens=_count(model, entry, "max_output_tokens"),
                context_window=_count(model, entry, "max_input_tokens"),
            ),
        )


def _price_map_rate(model: str, entry: Mapping[str, object], field: str) -> Rate:
    tiers = []
    for name in entry:
        tier = _PRICE_MAP_TIER.fullmatch(name)
        if tier and tier["price"] == field and entry[name] is not None:
            tiers.append((int(tier["thousands"]) * 1000, _price(model, entry, name, per_tokens=1)))
    return Rate(_price(model, entry, field, per_tokens=1), tuple(sorted(tiers)))


def _price(model: str, entry: Mapping[str, object], field: str, *, per_tokens: int = 1_000_000) -> int:
    """A price of an entry as nano-dollars per million tokens."""
    usd, ceiling = _number(entry[field]), Decimal(MAX_USD) * per_tokens / 1_000_000
    if usd is None or not 0 <= usd <= ceiling:
        _refuse(model, field, entry[field], f"a number of 0 to {ceiling:f}, in USD per {per_tokens} tokens")
    return _nanos(usd * 1_000_000 / per_tokens)


def _count(model: str, entry: Mapping[str, object], field: str) -> int | None:
    if entry.get(field) is None:
        return None
    count = _number(entry[field])
    if count is None or not 1 <= count <= MAX_TOKENS or count != int(count):
        _refuse(model, field, entry[field], f"a whole number of 1 to {MAX_TOKENS} tokens")
    return int(count)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        return None
    return Decimal(value)


def _refuse(model: str, field: str, value: object, accepted: str) -> NoReturn:
    raise ValueError(f"model {model!r}: {field} is {str(value)[:40]!r}; accepted is {accepted}")
