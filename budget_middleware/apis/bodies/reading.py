"""Tools to read JSON, numbers and names from hostile bytes. None of them raises but `whole_number`."""

import json
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.core.money import MAX_USD, nanos_from_usd

# What `parse_body` returns for bytes that are no JSON; None is a JSON value.
UNREADABLE: Final = object()

# A hundred times the largest context window there is; a count above it is not believed.
MAX_TOKENS: Final = 1_000_000_000
# A name in an answer that is longer is not believed either.
MAX_NAME: Final = 256
MAX_ID: Final = 1_024
# What is shown of a usage that could not be reconciled.
MAX_SHOWN_FIELDS: Final = 12
_FIELD: Final = re.compile(r"[A-Za-z_]{1,40}", re.ASCII)
# A whole number as text: `8192`, ` +8192.0 `.
_NUMBER: Final = re.compile(r"\s*\+?([0-9]{1,20})(?:\.0*)?\s*", re.ASCII)
# An amount as text: `0.0125`, `1.2e-05`.
_AMOUNT: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
# What gateways take for no, as pydantic does; whatever is not among these may be taken for yes.
_NO: Final = frozenset({"", "0", "0.0", "false", "off", "f", "n", "no", "none", "null"})


class PartialBody(dict[str, object]):
    """Some fields of a JSON object that has more values than are read, and how many texts and arrays it has."""

    def __init__(self, *, n_texts: int, n_lists: int) -> None:
        super().__init__()
        self.n_texts = n_texts
        self.n_lists = n_lists


def parse_body(raw: bytes | bytearray) -> object:
    """The JSON value of a body as lenient gateways read it (UTF-16, BOM, NaN …), else UNREADABLE."""
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        # Several times slower, and less strict.
        return _parse_leniently(raw)


def _parse_leniently(raw: bytes | bytearray) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):  # Also too many digits, and too deep a nesting.
        return UNREADABLE


def may_be_true(value: object) -> bool:
    """Whether a gateway may take a field for a yes: `true`, `1`, `"true"`, `"on"`, or anything that is no plain no."""
    if isinstance(value, str):
        return value.strip().lower() not in _NO
    return bool(value)


def whole_number(body: Mapping[str, object], field: str, *, at_most: int | None = None) -> int | None:
    """A number above 0, None where absent or null; BadRequestError names the field and what is accepted."""
    value = body.get(field)
    if value is None:
        return None
    number = value if type(value) is int else whole(value)
    if number is not None and 0 < number <= (at_most or number):
        return number
    shown = repr(value)[:40] if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"
    accepted = "a whole number above 0" if at_most is None else f"a whole number of 1 to {at_most}"
    raise BadRequestError(f"{field} must be {accepted}, not {shown}")


def largest(body: Mapping[str, object], *fields: str) -> int | None:
    """The largest of the numbers that a request names. Which of them a gateway prefers is not ours to know."""
    most = None
    for field in fields:
        if field not in body:
            continue
        value = body[field]
        # As nearly all come: a number that is one.
        number = value if type(value) is int and value > 0 else whole_number(body, field)
        if number is not None and (most is None or number > most):
            most = number
    return most


def token_count(value: object) -> int | None:
    """A count of tokens as an answer reports it, as a number or as text; None for anything that is not one."""
    number = value if type(value) is int else whole(value)
    return number if number is not None and 0 <= number <= MAX_TOKENS else None


def first_count(source: Mapping[str, object], *fields: str) -> int:
    """The first of several names of a count that holds one; 0 if none does."""
    for field in fields:
        if field in source and (count := token_count(source[field])) is not None:
            return count
    return 0


def largest_count(source: Mapping[str, object], *fields: str) -> int:
    """The largest of the counts that several names hold; 0 if none does."""
    most = 0
    for field in fields:
        if field in source and (count := token_count(source[field])) is not None and count > most:
            most = count
    return most


def milliseconds(seconds: object) -> int | None:
    """A duration in seconds as an answer reports it, as a number or as text, in whole milliseconds; None for anything
    else.
    """
    if isinstance(seconds, str) and _AMOUNT.fullmatch(seconds):
        seconds = float(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_TOKENS:
        return None
    return round(seconds * 1000)


def cost_nanos(cost: object) -> int | None:
    """A cost in USD that a gateway reports, as a number or as text, in nano-dollars; None for anything else."""
    if isinstance(cost, str) and _AMOUNT.fullmatch(cost):
        cost = float(cost)
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= MAX_USD:
        return None
    # The shortest text of a double is the number that was sent.
    return nanos_from_usd(repr(cost))


def shape_of(reason: str, source: Mapping[str, object]) -> str:
    """A reason and the names of the fields that hold numbers above 0, without any value, for operators to look at."""
    names = sorted(name for name, value in source.items() if token_count(value) and _FIELD.fullmatch(name))
    return f"{reason}: {', '.join(names[:MAX_SHOWN_FIELDS])}"


def name_in(source: Mapping[str, object], field: str) -> str | None:
    """A name in an answer; None for what is no text, empty, or too long to be one."""
    value = source.get(field)
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME else None


def id_in(source: Mapping[str, object], field: str) -> str | None:
    """An id in a request or an answer. A gateway that manages ids of its own has others' in it, and more."""
    value = source.get(field)
    return value if isinstance(value, str) and 0 < len(value) <= MAX_ID else None


def last_segment(name: str) -> str:
    """What a name with slashes ends in, such as the id in `projects/P/locations/L/KIND/ID` or in an ARN."""
    return name.rstrip("/").rpartition("/")[2]


def bytes_of_base64(text: str) -> int:
    """How many bytes a text in base64 stands for."""
    return len(text) * 3 // 4 - text[-2:].count("=")


def text_in(source: Mapping[str, object], field: str) -> str | None:
    """A text that is not empty, however long; None for anything else."""
    value = source.get(field)
    return value if isinstance(value, str) and value else None


def mapping_of(value: object) -> Mapping[str, object]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[object]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def whole(value: object) -> int | None:
    """A whole number, also as 12.0 or as text, as some gateways write it, and as all fields of a form come; None for
    anything else.
    """
    if isinstance(value, str):
        number = _NUMBER.fullmatch(value)
        return int(number[1]) if number else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None
