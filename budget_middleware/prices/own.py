"""The operator's own prices: a TOML file, or a price map in LiteLLM's JSON shape."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from budget_middleware.core.costs.job_kinds import JobKind, is_job_name
from budget_middleware.core.costs.pricing import Rate, Rates, UsageClass
from budget_middleware.prices.gaps import Gaps
from budget_middleware.prices.numbers import (
    ALLOW_HIGH,
    allows_high_in,
    amount_in,
    count_in,
    factor_of,
    price_in,
    refuse,
)
from budget_middleware.prices.own_map import lines_of, price_map_entries
from budget_middleware.prices.resolving import BuiltIn, resolve
from budget_middleware.prices.units import JOB_UNITS, MILLION, PER, SELLS_BY, OneOf, OwnPrice, SameAs

_SAME_AS: Final = "same_as"
_ONE_OF: Final = "one_of"
_MOST_TARGETS: Final = 50
_TIMES: Final = "times"
_MODE: Final = re.compile("[a-z0-9][a-z0-9_./-]{0,39}")
_COUNTS: Final = ("max_output_tokens", "context_window", "expected_output_tokens")
_HOLD_AT_MOST: Final = "hold_at_most"
_UNITS: Final = tuple(UsageClass)
_NO_MODES: Final = (*_UNITS, *_COUNTS, _HOLD_AT_MOST)
_FIELDS: Final = (*_NO_MODES, ALLOW_HIGH)
_FIELDS_IN_A_MODE: Final = (*_UNITS, _TIMES)


def load_prices(path: str | Path) -> Mapping[str, OwnPrice]:
    """Read the operator's own prices.

    A TOML file has them in USD: per million tokens or characters, per hour of audio, for each image, search or call; or
    `same_as` another model. A JSON file is a price map in LiteLLM's shape, in USD per token, character, second, image
    or query; its entries that price only one of input and output tokens, or nothing that is known here, are left out.

    ValueError, in one line that names file, model, field and what is accepted, for a file that cannot be read and for
    a price that cannot be meant (see `numbers`).
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        # No TOML document begins with a brace, and none of ours with an array.
        is_json = text.lstrip().startswith("{") or Path(path).suffix.lower() == ".json"
        read = price_map_entries if is_json else _toml_entries
        return _checked(_without_duplicates(read(text), text))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


def _without_duplicates(entries: Iterator[tuple[str, OwnPrice]], text: str) -> Mapping[str, OwnPrice]:
    """The entries by name; ValueError for two prices of one name, in capitals or not."""
    own: dict[str, OwnPrice] = {}
    by_lower: dict[str, str] = {}
    for model, price in entries:
        other = by_lower.setdefault(model.lower(), model)
        if other in own and own[other] != _renamed(price, other):
            (one, *_), (two, *_) = lines_of(other, text), lines_of(model, text)
            raise ValueError(
                f"models {other!r} (line {one}) and {model!r} (line {two}) are one name with two prices;"
                " accepted is one of them"
            )
        own[model] = price
    return own


def _renamed(price: OwnPrice, model: str) -> OwnPrice:
    return replace(price, model=model) if isinstance(price, Rates) else price


def _toml_entries(text: str) -> Iterator[tuple[str, OwnPrice]]:
    document = _toml(text)
    models = document.pop("models", {})
    if document or not isinstance(models, dict):
        raise ValueError('accepted are tables [models."NAME"] only')
    for model, entry in models.items():
        if not isinstance(entry, dict):
            refuse(model, "its value", entry, "a table of prices")
        if _SAME_AS in entry:
            yield model, _alias(model, entry)
            continue
        if _ONE_OF in entry:
            yield model, _router(model, entry)
            continue
        modes = {field: entry.pop(field) for field in list(entry) if _is_mode(field, entry[field])}
        for field in (field for field in entry if field not in _FIELDS):
            refuse(model, field, entry[field], f"one of the fields {', '.join(_FIELDS)}")
        _check_units(model, entry)
        allows_high = allows_high_in(model, entry)
        output, window, expected = (count_in(model, entry, field) for field in _COUNTS)
        yield (
            model,
            Rates(
                model=model,
                by_unit=_toml_rates(model, entry, allows_high=allows_high),
                by_mode={
                    mode: _toml_mode(model, mode, prices, allows_high=allows_high) for mode, prices in modes.items()
                },
                basis_points_by_mode={
                    mode: factor_of(model, f"{mode}.{_TIMES}", prices[_TIMES])
                    for mode, prices in modes.items()
                    if _TIMES in prices
                },
                max_output_tokens=output,
                context_window=window,
                expected_output_tokens=expected,
                hold_at_most_nanos=amount_in(model, entry, _HOLD_AT_MOST),
            ),
        )


def _check_units(model: str, entry: Mapping[str, object]) -> None:
    """ValueError for prices that no call, or no job of the kind that the name says, could be billed by."""
    if is_job_name(model):
        if not entry.keys() & {*JOB_UNITS, _HOLD_AT_MOST}:
            refuse(model, _HOLD_AT_MOST, None, f"{', '.join(sorted(JOB_UNITS))} or {_HOLD_AT_MOST}, for jobs")
        return
    missing = [unit for unit in (UsageClass.INPUT, UsageClass.OUTPUT) if unit not in entry]
    if missing and not entry.keys() & (SELLS_BY - {UsageClass.INPUT, UsageClass.OUTPUT}):
        refuse(model, missing[0], None, "a price for both input and output")
    if _HOLD_AT_MOST in entry and not entry.keys() & JOB_UNITS:
        kinds = ", ".join(f"{kind}/{model}" for kind in JobKind)
        refuse(model, _HOLD_AT_MOST, entry[_HOLD_AT_MOST], f"it beside a price of jobs, or in one of {kinds}")


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        # The parser names the place of the second alone.
        twice = re.search(r"\('models', '([^']+)'\) twice", str(error))
        lines = " and ".join(map(str, lines_of(twice[1], text)[:2])) if twice else ""
        raise ValueError(f"{error}{f'; it stands in lines {lines}' if lines else ''}") from None


def _is_mode(field: str, value: object) -> bool:
    return isinstance(value, dict) and field not in _NO_MODES and _MODE.fullmatch(field) is not None


def _toml_rates(
    model: str, entry: Mapping[str, object], *, allows_high: bool, mode: str = ""
) -> Mapping[UsageClass, Rate]:
    return {
        unit: Rate(
            price_in(
                model,
                entry,
                unit,
                unit=unit,
                per=PER.get(unit, MILLION),
                named=f"{mode}.{unit}" if mode else "",
                allows_high=allows_high,
            )
        )
        for unit in _UNITS
        if unit in entry
    }


def _toml_mode(model: str, mode: str, prices: Mapping[str, object], *, allows_high: bool) -> Mapping[UsageClass, Rate]:
    """What a model costs in a mode, where that differs."""
    for field in (field for field in prices if field not in _FIELDS_IN_A_MODE):
        refuse(model, f"{mode}.{field}", prices[field], f"one of the fields {', '.join(_FIELDS_IN_A_MODE)}")
    return _toml_rates(model, prices, allows_high=allows_high, mode=mode)


def _alias(model: str, entry: Mapping[str, object]) -> SameAs:
    other = entry[_SAME_AS]
    if not isinstance(other, str) or len(entry) > 1:
        refuse(model, _SAME_AS, other, "the name of another model, and no other field with it")
    return SameAs(other)


def _router(model: str, entry: Mapping[str, object]) -> OneOf:
    targets = entry[_ONE_OF]
    names = [each for each in targets if isinstance(each, str) and each] if isinstance(targets, list) else []
    if not 0 < len(names) <= _MOST_TARGETS or names != targets or len(entry) > 1:
        accepted = f"a list of the names of 1 to {_MOST_TARGETS} models, and no other field with it"
        refuse(model, _ONE_OF, targets, accepted)
    return OneOf(tuple(dict.fromkeys(names)))


def _checked(own: Mapping[str, OwnPrice]) -> Mapping[str, OwnPrice]:
    """As given; ValueError for an alias of a model without prices, and for one of another alias."""
    for model, price in own.items():
        whole, slash, _ = model.partition("/")
        is_call = isinstance(price, Rates) and UsageClass.CALL in price.by_unit
        if slash and is_call and whole not in own and not is_job_name(model):
            refuse(model, "call", None, f"a price of a call of {whole!r} too, for what else it calls")
        if isinstance(price, SameAs) and not _has_prices(price.model, own):
            refuse(model, _SAME_AS, price.model, "a model that has prices here or in the built-in book")
        if isinstance(price, OneOf):
            for target in price.models:
                alias = own.get(target)
                if not _has_prices(alias.model if isinstance(alias, SameAs) else target, own):
                    refuse(model, _ONE_OF, target, "models that have prices here or in the built-in book")
    return own


def _has_prices(model: str, own: Mapping[str, OwnPrice]) -> bool:
    if model in own:
        return isinstance(own[model], Rates)
    return resolve(model, (BuiltIn(), Gaps()), at=datetime.now(UTC)) is not None
