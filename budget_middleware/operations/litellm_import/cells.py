"""Reads what one column or setting holds, whether it came from JSON, CSV or YAML.

Each function raises ValueError, in words that follow the name of the column, for what it cannot read.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from budget_middleware.core.money import nanos_from_usd, usd_from_nanos

_YES: Final = ("true", "t", "1", "yes")
_NOTHING: Final = ("{}", "[]", "null")
_MAY_BE_EMPTY: Final = (str, Sequence, Mapping)
_FROM_ENVIRONMENT: Final = "os.environ/"


def is_empty(value: Any) -> bool:
    """Whether a cell says nothing: null, empty text, an empty object or list; in a text export a null of JSON too."""
    return value is None or (isinstance(value, _MAY_BE_EMPTY) and (not value or value in _NOTHING))


def text_of(value: Any) -> str:
    return "" if value is None else str(value).strip()


def flag_of(value: Any) -> bool:
    return text_of(value).lower() in _YES


def usd_of(value: Any) -> str:
    """The amount in USD as the limits write it: exact to the nano-dollar, without zeros that say nothing."""
    return usd_text(nanos_of(value))


def usd_text(nanos: int) -> str:
    return usd_from_nanos(nanos).removesuffix(".00")


def nanos_of(value: Any) -> int:
    number = _number(value)
    nanos = nanos_from_usd(number)
    if nanos < 0:
        raise ValueError(f"{number[:40]} is negative")
    return nanos


def count_of(value: Any) -> str:
    """A whole number of tokens or requests."""
    number = _number(value)
    try:
        count = Decimal(number)
    except ArithmeticError:
        count = Decimal("NaN")
    if not count.is_finite() or count < 0 or count != count.to_integral_value():
        raise ValueError(f"{number[:40]!r} is not a whole number from 0 upwards")
    return str(int(count))


def time_of(value: Any) -> datetime | None:
    """An instant; PostgreSQL writes those of LiteLLM without a zone, in UTC."""
    if is_empty(value):
        return None
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(text_of(value))
    except ValueError:
        raise ValueError(f"{text_of(value)[:40]!r} is not a time") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def mapping_of(value: Any) -> Mapping[str, Any]:
    """The object of a JSON column; empty for none."""
    found = _parsed(value)
    if found is None or found == []:
        return {}
    if not isinstance(found, Mapping):
        raise ValueError("it is not an object")  # noqa: TRY004 - a wrong file, as all the others here
    return found


def list_of(value: Any) -> Sequence[Any]:
    """The list of a JSON column; empty for none."""
    found = _parsed(value)
    if found is None or found == {}:
        return ()
    if not isinstance(found, list):
        raise ValueError("it is not a list")  # noqa: TRY004 - a wrong file, as all the others here
    return found


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value, parse_float=Decimal)
    except ValueError:
        raise ValueError("it is not JSON") from None


def _number(value: Any) -> str:
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a number")  # noqa: TRY004 - a wrong file, as all the others here
    text = text_of(value)
    if text.startswith(_FROM_ENVIRONMENT):
        raise ValueError("its value is in LiteLLM's environment")
    return text
