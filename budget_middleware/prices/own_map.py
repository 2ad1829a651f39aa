"""The operator's own prices as a price map in LiteLLM's JSON shape: read strictly, for people write it."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from budget_middleware.core.costs.pricing import Rates
from budget_middleware.prices.numbers import refuse
from budget_middleware.prices.price_map import rates_of_price_map

_SHAPE: Final = 'as in {"MODEL": {"input_cost_per_token": 0.0000025, "output_cost_per_token": 0.00001}}'


def price_map_entries(text: str) -> Iterator[tuple[str, Rates]]:
    document = json.loads(text, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=_Object)
    if not isinstance(document, _Object):
        raise ValueError(f"accepted is an object of models, {_SHAPE}")  # noqa: TRY004 - it is the file that is wrong
    if document.twice:
        lines = " and ".join(str(line) for line in lines_of(next(iter(document.twice)), text)[:2])
        raise ValueError(f"{_duplicate_message(document)}, in lines {lines}; accepted is one of them")
    n_priced = 0
    for model, entry in document.items():
        if model == "sample_spec":
            continue
        if not isinstance(entry, _Object):
            refuse(model, "its value", entry, "an object of prices")
        if entry.twice:
            raise ValueError(f"model {model!r}: {_duplicate_message(entry)}; accepted is one of them")
        if rates := rates_of_price_map(model, entry):
            n_priced += 1
            yield model, rates
    if document and not n_priced:
        raise ValueError(f"none of its entries has a known price; accepted is {_SHAPE}")


class _Object(dict[str, object]):
    """A JSON object that knows which of its fields stands twice, of which JSON would take the last in silence."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.twice: dict[str, tuple[object, object]] = {}
        if len(self) < len(pairs):
            first: dict[str, object] = {}
            for name, value in pairs:
                if first.setdefault(name, value) != value:
                    self.twice.setdefault(name, (first[name], value))


def _duplicate_message(found: _Object) -> str:
    name, values = next(iter(found.twice.items()))
    one, other = (str(value)[:80] for value in values)
    return f"{name!r} is given twice, as {one} and as {other}"


def lines_of(name: str, text: str) -> list[int | str]:
    """The lines of a file in which a name stands by itself."""
    alone = re.compile(rf"(?<![\w/-]){re.escape(name)}(?![\w./:-])")
    return [number for number, line in enumerate(text.splitlines(), 1) if alone.search(line)] or ["unknown"]
