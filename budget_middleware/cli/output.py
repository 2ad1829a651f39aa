"""What a command writes: aligned tables to read, JSON for scripts, complaints on stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from budget_middleware.core.money import usd_from_nanos

PROGRAM = "budget-middleware"

Row = Mapping[str, object]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def complain(line: str) -> None:
    sys.stderr.write(f"{PROGRAM}: {line}\n")


def usd(nanos: int | None) -> str | None:
    return None if nanos is None else usd_from_nanos(nanos)


def say_json(value: object) -> None:
    say(json.dumps(value))


def say_rows(rows: Sequence[Row], *, as_json: bool, if_none: str) -> None:
    """A JSON array, or a table whose columns are named like the JSON keys."""
    if as_json:
        say_json(rows)
    elif rows:
        Table().say(rows)
    else:
        say(if_none)


class Table:
    """Aligned columns, headed once; amounts stand on their decimal point. Later rows keep the widths of earlier ones."""

    def __init__(self) -> None:
        self._widths: dict[str, int] = {}
        self._decimals: dict[str, int] = {}

    def say(self, rows: Iterable[Row]) -> None:
        lines = [{name: _text(value) for name, value in row.items()} for row in rows]
        if not self._widths and lines:
            lines.insert(0, {name: name for name in lines[0]})
        for line in lines:
            for name, text in line.items():
                whole, _, decimals = text.partition(".") if _is_amount(name) else (text, "", "")
                self._decimals[name] = max(self._decimals.get(name, 0), len(decimals))
                self._widths[name] = max(self._widths.get(name, 0), len(whole), len(text))
        for name, decimals in self._decimals.items():
            # Room for the longest whole part with the longest decimals, which may stand in different rows.
            wholes = (len(line[name].partition(".")[0]) for line in lines if name in line)
            self._widths[name] = max(self._widths[name], (max(wholes, default=0) + decimals + 1) * bool(decimals))
        for line in lines:
            say("  ".join(self._cell(name, text) for name, text in line.items()).rstrip())

    def _cell(self, name: str, text: str) -> str:
        if not _is_amount(name):
            return text.ljust(self._widths[name])
        missing = self._decimals[name] - len(text.partition(".")[2])
        is_number = "." in text
        return (text + " " * missing * is_number).rjust(self._widths[name])


def _is_amount(name: str) -> bool:
    return name.endswith("_usd")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    # What a client had a hand in must not steer the operator's terminal.
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))
