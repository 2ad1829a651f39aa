"""Output of commands: aligned tables for people, JSON for scripts, errors on stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from budget_middleware.core.money import ceil_div
from budget_middleware.core.units import Unit
from budget_middleware.operations.values import Figure, as_json, format_amount

PROGRAM = "budget-middleware"

Row = Mapping[str, object]

_UNITS = tuple(Unit)
_FIGURES = frozenset({"limit", "spent", "reserved", "available", "soft_limit", "shadow_limit"})
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "12345678"
_EIGHTHS = "▏▎▍▌▋▊▉█"
_BAR_WIDTH = 12


def print_line(line: str) -> None:
    # What a client had a hand in must not steer the operator's terminal.
    shown = line if line.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in line)
    sys.stdout.write(shown + "\n")


def print_error(line: str) -> None:
    sys.stderr.write(f"{PROGRAM}: {line}\n")


def warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print_error(f"warning: {warning}")


def print_json(value: object) -> None:
    """Write a row of operations, or whatever holds rows or is JSON already, in one line."""
    print_line(json.dumps(as_json(value)))


def print_rows(rows: Sequence[Any], *, in_json: bool, if_none: str) -> None:
    """Print a JSON array, or a table with the JSON keys as column names; names of figures end with their unit."""
    if in_json:
        print_json(rows)
    elif rows:
        Table().write(table_rows(rows))
    else:
        print_line(if_none)


def table_rows(rows: Sequence[Any]) -> list[Row]:
    """Rows of several units have their figures in the same columns, behind one that names the unit."""
    units = [getattr(row, "unit", Unit.USD) for row in rows]
    shown: list[Row] = [{name: value for name, value in row.items() if name != "unit"} for row in as_json(rows)]
    if len(set(units)) == 1:
        return shown
    return [_with_unit_column(row, unit) for row, unit in zip(shown, units, strict=True)]


def _with_unit_column(row: Row, unit: Unit) -> Row:
    merged: dict[str, object] = {}
    for name, value in row.items():
        figure = name.removesuffix(f"_{unit}")
        if figure != name:
            merged.setdefault("unit", unit)
        merged[figure] = value
    return merged


def with_one_amount(rows: Sequence[Row]) -> Sequence[Row]:
    """Rows with a column for the amount of each unit, in one column where some have others than money."""
    if all(row.keys().isdisjoint(_UNITS[1:]) for row in rows):
        return rows
    return [_with_amount_column(row) for row in rows]


def _with_amount_column(row: Row) -> Row:
    merged: dict[str, object] = {}
    for name, value in row.items():
        if name not in _UNITS:
            merged[name] = value
        elif value is not None:
            amount = format_amount(Figure(str(value), Unit(name)))
            merged["amount"] = f"{merged['amount']}, {amount}" if "amount" in merged else amount
    return merged


def columns(row: Any, names: Iterable[str]) -> Row:
    """Some fields of a row for a table; figures are named without their unit."""
    found = as_json(row)
    return {key: found[key] for name in names for key in (name, f"{name}_{row.unit}") if key in found}


class Table:
    """Aligned columns, with one heading, repeated when later rows have more columns; amounts stand on their decimal
    point.

    Later rows keep the widths of earlier ones.
    """

    def __init__(self) -> None:
        self._widths: dict[str, int] = {}
        self._decimals: dict[str, int] = {}

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows, at least one. A key that only some have, such as a figure of another unit, gets its column."""
        names = dict.fromkeys([*self._widths, *chain.from_iterable(rows)])
        is_headed = len(names) == len(self._widths)
        columns = [self._column(name, [row.get(name) for row in rows]) for name in names]
        for cells in list(zip(*columns, strict=True))[1 if is_headed else 0 :]:
            print_line("  ".join(cells).rstrip())

    def _column(self, name: str, values: list[object]) -> list[str]:
        """The cells of a column, its head first."""
        texts = list(map(_text, values))
        is_amount = "usd" in name or (name in _FIGURES and all(map(_is_figure, texts)))
        is_number = is_amount or name.endswith(_UNITS) or isinstance(values[0], int | float)
        if is_amount:
            texts = self._aligned_on_point(name, texts)
        width = self._widths[name] = max(self._widths.get(name, len(name)), *map(len, texts))
        return [text.rjust(width) if is_number else text.ljust(width) for text in (name, *texts)]

    def _aligned_on_point(self, name: str, texts: list[str]) -> list[str]:
        lengths = [len(text.partition(".")[2]) for text in texts]
        longest = self._decimals[name] = max(self._decimals.get(name, 0), *lengths)
        return [
            text + " " * (longest - length) if length else text for text, length in zip(texts, lengths, strict=True)
        ]


def bars(counts: Sequence[int]) -> str:
    """A small bar for each count, as high as it is beside the largest; a dot for 0. Digits where letters are ASCII."""
    largest = max(counts, default=0)
    letters = _BARS if _has_blocks() else _PLAIN_BARS
    return "".join(letters[ceil_div(len(letters) * count, largest) - 1] if count else "." for count in counts)


def bar(part: int, whole: int) -> str:
    """A bar along the line, as long as a part is beside the whole; none for 0."""
    if not part:
        return ""
    if not _has_blocks():
        return "#" * ceil_div(_BAR_WIDTH * part, whole)
    full, rest = divmod(ceil_div(_BAR_WIDTH * len(_EIGHTHS) * part, whole), len(_EIGHTHS))
    return _EIGHTHS[-1] * full + (_EIGHTHS[rest - 1] if rest else "")


def _has_blocks() -> bool:
    return (sys.stdout.encoding or "ascii").lower().startswith("utf")


def _is_figure(text: str) -> bool:
    """Whether it is an amount, or none, and no limit such as `10.00/day`."""
    return text.lstrip("-").replace(".", "", 1).isdecimal() or text == "-"


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    return str(value)
