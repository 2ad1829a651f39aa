"""The operator's own prices: a TOML file, or a price map in LiteLLM's JSON shape."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, NoReturn

from budget_middleware.core.money import MAX_USD
from budget_middleware.core.pricing import Rate, Rates, Unit
from budget_middleware.prices.gaps import Gaps, search_unit
from budget_middleware.prices.resolving import BuiltIn, resolve
from budget_middleware.prices.units import MILLION, PER, SELLS_BY, OwnPrice, SameAs, exact_number, nanos_per_million

# Beyond any model's window; a count above it is a slip of the pen.
MAX_TOKENS: Final = 1_000_000_000

_PRICE_MAP: Final = {
    Unit.INPUT: "input_cost_per_token",
    Unit.CACHED_INPUT: "cache_read_input_token_cost",
    Unit.CACHE_WRITE: "cache_creation_input_token_cost",
    Unit.CACHE_WRITE_1H: "cache_creation_input_token_cost_above_1hr",
    Unit.INPUT_AUDIO: "input_cost_per_audio_token",
    Unit.CACHED_AUDIO: "cache_read_input_audio_token_cost",
    Unit.INPUT_IMAGE: "input_cost_per_image_token",
    Unit.OUTPUT: "output_cost_per_token",
    Unit.REASONING: "output_cost_per_reasoning_token",
    Unit.OUTPUT_AUDIO: "output_cost_per_audio_token",
    Unit.OUTPUT_IMAGE: "output_cost_per_image_token",
    Unit.CHARACTER: "input_cost_per_character",
    Unit.AUDIO_MS: "input_cost_per_second",
    Unit.IMAGE: "output_cost_per_image",
    Unit.RERANK_SEARCH: "input_cost_per_query",
    Unit.CACHED_IMAGE: "cache_read_input_image_token_cost",
    Unit.REQUEST: "input_cost_per_request",
    Unit.FILE_SEARCH: "file_search_cost_per_1k_calls",
    Unit.CODE_CONTAINER: "code_interpreter_cost_per_session",
    Unit.MAPS_REQUEST: "google_maps_grounding_cost_per_query",
}
_PRICE_MAP_PER: Final = {Unit.AUDIO_MS: 1_000, Unit.FILE_SEARCH: 1_000}
_PRICE_MAP_TIER: Final = re.compile(
    r"(?P<price>\w+)_above_(?P<thousands>[0-9]{1,6})k_tokens(?P<mode>(?:_flex|_priority|_batches|_ultrafast)?)"
)
# How the names of prices end -> the mode in which they are taken.
_PRICE_MAP_MODES: Final = {"_flex": "flex", "_priority": "priority", "_batches": "batch", "_ultrafast": "ultrafast"}
_PRICE_MAP_FACTORS: Final = "provider_specific_entry"
_PRICE_MAP_SEARCH: Final = "search_context_cost_per_query"
_SEARCH_SIZES: Final = ("low", "medium", "high")
_PRICE_OF_IMAGE: Final = "input_cost_per_image"
_SAME_AS: Final = "same_as"
_TIMES: Final = "times"
_MODE: Final = re.compile("[a-z0-9][a-z0-9_./-]{0,39}")
_MAX_FACTOR: Final = 100
_COUNTS: Final = ("max_output_tokens", "context_window")


def load_prices(path: str | Path) -> Mapping[str, OwnPrice]:
    """Read own prices. TOML: in USD per million tokens or characters, per hour of audio, each for what is counted
    singly, or `same_as` another model. JSON: a price map in LiteLLM's shape, in USD per token, character, second,
    image or query.

    ValueError, in one line that names file, model, field and what is accepted, for a file that cannot be read
    or holds anything but prices of 0 to MAX_USD per million. Entries of a price map that price only one of input
    and output tokens, or nothing that is known here, are left out.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        # No TOML document begins with a brace.
        read = _price_map_entries if text.lstrip().startswith("{") else _toml_entries
        return _checked(_once_each(read(text)))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


def _once_each(entries: Iterator[tuple[str, OwnPrice]]) -> Mapping[str, OwnPrice]:
    """The entries by name; ValueError for two that price one name, which is read in capitals or not."""
    own: dict[str, OwnPrice] = {}
    by_lower: dict[str, str] = {}
    for model, price in entries:
        other = by_lower.setdefault(model.lower(), model)
        if other in own and own[other] != _renamed(price, other):
            raise ValueError(f"models {other!r} and {model!r} are one name with two prices; accepted is one of them")
        own[model] = price
    return own


def _renamed(price: OwnPrice, model: str) -> OwnPrice:
    return replace(price, model=model) if isinstance(price, Rates) else price


def _toml_entries(text: str) -> Iterator[tuple[str, OwnPrice]]:
    document = tomllib.loads(text, parse_float=Decimal)
    models = document.pop("models", {})
    if document or not isinstance(models, dict):
        raise ValueError('accepted are tables [models."NAME"] only')
    for model, entry in models.items():
        accepted = (*Unit, *_COUNTS)
        if not isinstance(entry, dict):
            _refuse(model, "its value", entry, "a table of prices")
        if _SAME_AS in entry:
            yield model, _alias(model, entry)
            continue
        modes = {field: entry.pop(field) for field in list(entry) if _is_mode(field, entry[field])}
        for field in (field for field in entry if field not in accepted):
            _refuse(model, field, entry[field], f"one of the fields {', '.join(accepted)}")
        missing = [unit for unit in (Unit.INPUT, Unit.OUTPUT) if unit not in entry]
        if missing and not entry.keys() & (SELLS_BY - {Unit.INPUT, Unit.OUTPUT}):
            _refuse(model, missing[0], None, "a price for both input and output")
        output, window = (_count(model, entry, field) for field in _COUNTS)
        yield (
            model,
            Rates(
                model=model,
                by_unit=_toml_rates(model, entry),
                by_mode={mode: _toml_mode(model, mode, prices) for mode, prices in modes.items()},
                basis_points_by_mode={
                    mode: _factor(model, f"{mode}.{_TIMES}", prices[_TIMES])
                    for mode, prices in modes.items()
                    if _TIMES in prices
                },
                max_output_tokens=output,
                context_window=window,
            ),
        )


def _is_mode(field: str, value: object) -> bool:
    return isinstance(value, dict) and field not in (*Unit, *_COUNTS) and _MODE.fullmatch(field) is not None


def _toml_rates(model: str, entry: Mapping[str, object], *, mode: str = "") -> Mapping[Unit, Rate]:
    return {
        unit: Rate(_price(model, entry, unit, per=PER.get(unit, MILLION), mode=mode)) for unit in Unit if unit in entry
    }


def _toml_mode(model: str, mode: str, prices: Mapping[str, object]) -> Mapping[Unit, Rate]:
    """What a model costs in a mode, where that differs."""
    accepted = (*Unit, _TIMES)
    for field in (field for field in prices if field not in accepted):
        _refuse(model, f"{mode}.{field}", prices[field], f"one of the fields {', '.join(accepted)}")
    return _toml_rates(model, prices, mode=mode)


def _alias(model: str, entry: Mapping[str, object]) -> SameAs:
    other = entry[_SAME_AS]
    if not isinstance(other, str) or len(entry) > 1:
        _refuse(model, _SAME_AS, other, "the name of another model, and no other field beside it")
    return SameAs(other)


def _checked(own: Mapping[str, OwnPrice]) -> Mapping[str, OwnPrice]:
    """As given; ValueError for an alias of a model without prices, and for one of another alias."""
    for model, price in own.items():
        if not isinstance(price, SameAs):
            continue
        is_own = isinstance(own.get(price.model), Rates)
        if not is_own and (
            price.model in own or resolve(price.model, (BuiltIn(), Gaps()), at=datetime.now(UTC)) is None
        ):
            _refuse(model, _SAME_AS, price.model, "a model that has prices here or in the built-in book")
    return own


def _price_map_entries(text: str) -> Iterator[tuple[str, Rates]]:
    document = json.loads(text, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=_object)
    for model, entry in document.items():
        if model == "sample_spec":
            continue
        if not isinstance(entry, dict):
            _refuse(model, "its value", entry, "an object of prices")
        if rates := rates_of_price_map(model, entry):
            yield model, rates


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; ValueError for a field that stands twice, of which JSON would take the last in silence."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            told = (str(found[name])[:80], str(value)[:80])
            raise ValueError(f"{name!r} stands twice, as {told[0]} and as {told[1]}; accepted is one of them")
        found[name] = value
    return found


def rates_of_price_map(model: str, entry: Mapping[str, object]) -> Rates | None:
    """The rates of an entry of a price map, None if it prices nothing known here; ValueError for what is no price."""
    by_unit = _price_map_rates(model, entry, "")
    sells_by = by_unit.keys() & SELLS_BY
    if not sells_by or (sells_by < {Unit.INPUT, Unit.OUTPUT}):
        return None
    by_mode = {mode: _price_map_rates(model, entry, suffix) for suffix, mode in _PRICE_MAP_MODES.items()}
    search, search_by_mode = _price_map_search(model, entry)
    return Rates(
        model=model,
        provider=str(entry.get("litellm_provider", "")),
        by_unit={**search, **by_unit},
        by_mode={mode: rates for mode, rates in {**by_mode, **search_by_mode}.items() if rates},
        basis_points_by_mode=_price_map_factors(model, entry),
        max_output_tokens=_count(model, entry, "max_output_tokens"),
        context_window=_count(model, entry, "max_input_tokens"),
    )


def _price_map_rates(model: str, entry: Mapping[str, object], suffix: str) -> Mapping[Unit, Rate]:
    """The prices of an entry whose names end in a suffix, which tells the mode."""
    named = {unit: field for unit, field in _PRICE_MAP.items() if entry.get(f"{field}{suffix}") is not None}
    if "output_cost_per_image_token" in entry:
        # The same images by their tokens: they would be billed twice.
        named.pop(Unit.IMAGE, None)
    elif not suffix and _is_priced_by_image(entry, named):
        named[Unit.IMAGE] = _PRICE_OF_IMAGE
    return {unit: _price_map_rate(model, entry, unit, suffix, field) for unit, field in named.items()}


def _is_priced_by_image(entry: Mapping[str, object], named: Mapping[Unit, str]) -> bool:
    """Whether the price of an image that is generated stands where that of one that is read stands for other models."""
    is_drawn = entry.get("mode") == "image_generation" and entry.get(_PRICE_OF_IMAGE) is not None
    return is_drawn and named.keys().isdisjoint({Unit.IMAGE, Unit.OUTPUT, Unit.OUTPUT_IMAGE})


def _price_map_search(
    model: str, entry: Mapping[str, object]
) -> tuple[Mapping[Unit, Rate], Mapping[str, Mapping[Unit, Rate]]]:
    """The price of a search: the highest, and those of the sizes of context where they differ."""
    prices = entry.get(_PRICE_MAP_SEARCH)
    if not isinstance(prices, dict):
        return {}, {}
    sizes = {size: f"search_context_size_{size}" for size in _SEARCH_SIZES}
    rates = {
        size: Rate(_price(model, {field: exact_number(prices[field])}, field, per=1))
        for size, field in sizes.items()
        if prices.get(field) is not None
    }
    unit = search_unit(model)
    most = max(rates.values(), key=lambda rate: rate.nanos_per_million, default=None)
    if most is None:
        return {}, {}
    return {unit: most}, {f"search_{size}": {unit: rate} for size, rate in rates.items() if rate != most}


def _price_map_factors(model: str, entry: Mapping[str, object]) -> Mapping[str, int]:
    """What all prices are multiplied by in fast mode, and in a region."""
    factors = entry.get(_PRICE_MAP_FACTORS)
    if not isinstance(factors, dict):
        return {}
    return {mode: _factor(model, mode, exact_number(factors[mode])) for mode in ("fast", "us") if mode in factors}


def _factor(model: str, field: str, value: object) -> int:
    """A factor in hundredths of a percent."""
    factor = _number(value)
    if factor is None or not 0 <= factor <= _MAX_FACTOR:
        _refuse(model, field, value, f"a factor of 0 to {_MAX_FACTOR}")
    return int(factor * 10_000)


def _price_map_rate(model: str, entry: Mapping[str, object], unit: Unit, suffix: str, field: str) -> Rate:
    per = _PRICE_MAP_PER.get(unit, 1)
    tiers = []
    for name in entry:
        tier = _PRICE_MAP_TIER.fullmatch(name)
        if tier and (tier["price"], tier["mode"]) == (field, suffix) and entry[name] is not None:
            tiers.append((int(tier["thousands"]) * 1000, _price(model, entry, name, per=per)))
    return Rate(_price(model, entry, f"{field}{suffix}", per=per), tuple(sorted(tiers)))


def _price(model: str, entry: Mapping[str, object], field: str, *, per: int, mode: str = "") -> int:
    """A price of an entry, which is for so many, as nano-dollars per million."""
    usd, ceiling = _number(entry[field]), Decimal(MAX_USD) * per / MILLION
    if usd is None or not 0 <= usd <= ceiling:
        named = f"{mode}.{field}" if mode else field
        _refuse(model, named, entry[field], f"a number of 0 to {ceiling:f}, in USD per {per}")
    return nanos_per_million(usd, per=per)


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
