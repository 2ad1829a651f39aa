"""The table of all differences between our bills and those of other calculators."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Final

_TABLE: Final = tomllib.loads((Path(__file__).parent / "differences.toml").read_text(encoding="utf-8"))
_FIELDS: Final = {"ours", "theirs", "right", "why"}


def differences_from(calculator: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Our amount and theirs by the name of the exchange, for one of the calculators."""
    rows = _TABLE.get(calculator, {})
    for name, row in rows.items():
        assert row.keys() == _FIELDS, f"{name}: each row has {sorted(_FIELDS)}"
        assert row["right"] in ("ours", "theirs", "neither"), name
    return {name: (Decimal(row["ours"]), Decimal(row["theirs"])) for name, row in rows.items()}


def found(
    ours: dict[str, Decimal], theirs: dict[str, Decimal], *, tolerated: Decimal = Decimal(0)
) -> dict[str, tuple[Decimal, Decimal]]:
    """Both amounts of each exchange that the two do not agree on."""
    return {
        name: (ours[name].normalize() + 0, usd.normalize() + 0)
        for name, usd in theirs.items()
        if abs(ours[name] - usd) > tolerated
    }
