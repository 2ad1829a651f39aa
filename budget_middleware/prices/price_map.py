"""An entry of a price map in LiteLLM's JSON shape: USD per token, character, second, image or query."""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Final

from budget_middleware.core.costs.pricing import Rate, Rates, UsageClass
from budget_middleware.prices.missing import search_unit
from budget_middleware.prices.numbers import MAX_TOKENS, allows_high_in, count_in, factor_of, price_in, refuse
from budget_middleware.prices.units import SELLS_BY, exact_number

_PRICE_MAP: Final = {
    UsageClass.INPUT: "input_cost_per_token",
    UsageClass.CACHED_INPUT: "cache_read_input_token_cost",
    UsageClass.CACHE_WRITE: "cache_creation_input_token_cost",
    UsageClass.CACHE_WRITE_1H: "cache_creation_input_token_cost_above_1hr",
    UsageClass.INPUT_AUDIO: "input_cost_per_audio_token",
    UsageClass.CACHED_AUDIO: "cache_read_input_audio_token_cost",
    UsageClass.INPUT_IMAGE: "input_cost_per_image_token",
    UsageClass.INPUT_VIDEO: "input_cost_per_video_token",
    UsageClass.OUTPUT: "output_cost_per_token",
    UsageClass.REASONING: "output_cost_per_reasoning_token",
    UsageClass.OUTPUT_AUDIO: "output_cost_per_audio_token",
    UsageClass.OUTPUT_IMAGE: "output_cost_per_image_token",
    UsageClass.OUTPUT_VIDEO: "output_cost_per_video_token",
    UsageClass.CHARACTER: "input_cost_per_character",
    UsageClass.AUDIO_MS: "input_cost_per_second",
    UsageClass.IMAGE: "output_cost_per_image",
    UsageClass.RERANK_SEARCH: "input_cost_per_query",
    UsageClass.CACHED_IMAGE: "cache_read_input_image_token_cost",
    UsageClass.REQUEST: "input_cost_per_request",
    UsageClass.FILE_SEARCH: "file_search_cost_per_1k_calls",
    UsageClass.CODE_CONTAINER: "code_interpreter_cost_per_session",
    UsageClass.MAPS_REQUEST: "google_maps_grounding_cost_per_query",
}
_PRICE_MAP_PER: Final = {UsageClass.AUDIO_MS: 1_000, UsageClass.VIDEO_MS: 1_000, UsageClass.FILE_SEARCH: 1_000}
_PRICE_MAP_TIER: Final = re.compile(
    r"(?P<price>\w+)_above_(?P<thousands>[0-9]{1,6})k_tokens(?P<mode>(?:_flex|_priority|_batches|_ultrafast)?)"
)
# How the names of prices end -> the mode in which they are taken.
_PRICE_MAP_MODES: Final = {"_flex": "flex", "_priority": "priority", "_batches": "batch", "_ultrafast": "ultrafast"}
_PRICE_MAP_FACTORS: Final = "provider_specific_entry"
_PRICE_MAP_SEARCH: Final = "search_context_cost_per_query"
_TIERS: Final = "tiered_pricing"
_SEARCH_SIZES: Final = ("low", "medium", "high")
_PRICE_OF_IMAGE: Final = "input_cost_per_image"
# The first that an entry has; other models have a field of the same name for sound.
_PRICES_OF_VIDEO: Final = ("output_cost_per_video_per_second", "output_cost_per_second")
_VIDEO_SIZE: Final = re.compile("(?:output_cost_per_video_per_second|output_cost_per_second)_([0-9]{1,4}[pk])")


def rates_of_price_map(model: str, entry: Mapping[str, object]) -> Rates | None:
    """The rates of an entry of a price map, None if it prices nothing known here; ValueError for what is no price."""
    entry = _with_tiers(model, entry)
    by_unit = {**_price_map_rates(model, entry, ""), **_price_of_video(model, entry)}
    sells_by = by_unit.keys() & SELLS_BY
    if not sells_by or (sells_by < {UsageClass.INPUT, UsageClass.OUTPUT}):
        return None
    by_mode = {mode: _price_map_rates(model, entry, suffix) for suffix, mode in _PRICE_MAP_MODES.items()}
    search, search_by_mode = _price_map_search(model, entry)
    return Rates(
        model=model,
        provider=str(entry.get("litellm_provider", "")),
        by_unit={**search, **by_unit},
        by_mode={
            mode: rates
            for mode, rates in {**by_mode, **search_by_mode, **_video_by_size(model, entry)}.items()
            if rates
        },
        basis_points_by_mode=_price_map_factors(model, entry),
        max_output_tokens=count_in(model, entry, "max_output_tokens"),
        context_window=count_in(model, entry, "max_input_tokens"),
    )


def _price_of_video(model: str, entry: Mapping[str, object]) -> Mapping[UsageClass, Rate]:
    """The price of a second of video, where that is what the model makes."""
    field = next((name for name in _PRICES_OF_VIDEO if entry.get(name) is not None), None)
    if field is None or entry.get("mode") != "video_generation":
        return {}
    return {UsageClass.VIDEO_MS: _price_map_rate(model, entry, UsageClass.VIDEO_MS, "", field)}


def _video_by_size(model: str, entry: Mapping[str, object]) -> Mapping[str, Mapping[UsageClass, Rate]]:
    """The prices of videos of other sizes."""
    if entry.get("mode") != "video_generation":
        return {}
    sizes = {found[1]: name for name in entry if entry[name] is not None and (found := _VIDEO_SIZE.fullmatch(name))}
    return {
        size: {UsageClass.VIDEO_MS: _price_map_rate(model, entry, UsageClass.VIDEO_MS, "", name)}
        for size, name in sizes.items()
    }


def _with_tiers(model: str, entry: Mapping[str, object]) -> Mapping[str, object]:
    """The entry with its table of tiers, by the length of the input, written out as fields of their own."""
    tiers = entry.get(_TIERS)
    if not isinstance(tiers, list):
        return entry
    fields: dict[str, object] = {}
    for tier in tiers:
        if not isinstance(tier, dict) or "range" not in tier:
            continue  # By something else than the input, such as how many results are asked for.
        start = tier["range"][0] if isinstance(tier["range"], list) and tier["range"] else None
        if isinstance(start, bool) or not isinstance(start, int | float | Decimal) or not 0 <= start <= MAX_TOKENS:
            refuse(model, f"the range in {_TIERS}", tier["range"], "[FROM, TO] in tokens")
        above = f"_above_{int(start) // 1000}k_tokens" if start >= 1000 else ""
        prices = tier.keys() & _PRICE_MAP.values()
        fields |= {f"{field}{above}": exact_number(tier[field]) for field in prices}
    return {**fields, **entry}


def _price_map_rates(model: str, entry: Mapping[str, object], suffix: str) -> Mapping[UsageClass, Rate]:
    """The prices of an entry whose names end in a suffix, which is the mode."""
    named = {unit: field for unit, field in _PRICE_MAP.items() if entry.get(f"{field}{suffix}") is not None}
    if "output_cost_per_image_token" in entry:
        # The same images by their tokens: they would be billed twice.
        named.pop(UsageClass.IMAGE, None)
    elif not suffix and _is_priced_by_image(entry, named):
        named[UsageClass.IMAGE] = _PRICE_OF_IMAGE
    return {unit: _price_map_rate(model, entry, unit, suffix, field) for unit, field in named.items()}


def _is_priced_by_image(entry: Mapping[str, object], named: Mapping[UsageClass, str]) -> bool:
    """Whether the price of an image that is generated stands where that of one that is read stands for other models."""
    is_drawn = entry.get("mode") == "image_generation" and entry.get(_PRICE_OF_IMAGE) is not None
    return is_drawn and named.keys().isdisjoint({UsageClass.IMAGE, UsageClass.OUTPUT, UsageClass.OUTPUT_IMAGE})


def _price_map_search(
    model: str, entry: Mapping[str, object]
) -> tuple[Mapping[UsageClass, Rate], Mapping[str, Mapping[UsageClass, Rate]]]:
    """The price of a search: the highest, and those of the sizes of context where they differ."""
    prices = entry.get(_PRICE_MAP_SEARCH)
    if not isinstance(prices, dict):
        return {}, {}
    sizes = {size: f"search_context_size_{size}" for size in _SEARCH_SIZES}
    rates = {
        size: Rate(
            price_in(
                model,
                {field: exact_number(prices[field])},
                field,
                unit=UsageClass.WEB_SEARCH,
                per=1,
                allows_high=allows_high_in(model, entry),
            )
        )
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
    return {mode: factor_of(model, mode, exact_number(factors[mode])) for mode in ("fast", "us") if mode in factors}


def _price_map_rate(model: str, entry: Mapping[str, object], unit: UsageClass, suffix: str, field: str) -> Rate:
    price = partial(
        price_in, model, entry, unit=unit, per=_PRICE_MAP_PER.get(unit, 1), allows_high=allows_high_in(model, entry)
    )
    tiers = []
    for name in entry:
        tier = _PRICE_MAP_TIER.fullmatch(name)
        if tier and (tier["price"], tier["mode"]) == (field, suffix) and entry[name] is not None:
            tiers.append((int(tier["thousands"]) * 1000, price(name)))
    return Rate(price(f"{field}{suffix}"), tuple(sorted(tiers)))
