"""Reads what operators type: accounts, amounts, reservation ids and reasons.

A ValueError says in one line what is accepted, and never repeats what may be a token.
"""

import re
from collections.abc import Iterable
from typing import Final

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.payers.accounts import (
    WRONG_KEY,
    compound_of,
    names_raw_key,
    parse_account,
    parse_pattern,
    parts_of,
)
from budget_middleware.core.units import Unit

REASON_CHARS_MAX: Final = 500
RESERVATION_ID: Final = re.compile(r"[0-9a-f]{32}")
_FIGURE: Final = re.compile(r"([0-9]{1,15})\s*(tokens|requests)|[0-9eE.+-]+")


def read_account(text: str) -> str:
    """One account, in its canonical form."""
    name = parse_account(text)
    _refuse_raw_keys(parts_of(name))
    return name


def read_pattern(text: str) -> str:
    """An account in which `*` stands for any subject, in the form in which limits are stored."""
    parts = parse_pattern(text)
    _refuse_raw_keys(parts)
    return compound_of(dict(parts))


def read_subject(text: str) -> str:
    """One account, or the id of a reservation."""
    if is_reservation_id(text):
        return text
    try:
        return read_account(text)
    except ValueError as error:
        raise ValueError(f"{error}; or a reservation id of 32 hex digits") from None


def is_reservation_id(subject: str) -> bool:
    """Whether this is a reservation id: no account looks like one."""
    return RESERVATION_ID.fullmatch(subject) is not None


def read_amount(text: str) -> int:
    """Nano-dollars of an amount in USD that is not 0."""
    nanos = nanos_from_usd(text.strip())
    if nanos == 0:
        raise ValueError(f"{text.strip()!r} changes nothing; accepted is an amount in USD such as -5 or 0.25")
    return nanos


def read_figure(text: str) -> tuple[int, Unit]:
    """An amount and its unit, USD where none is named."""
    found = _FIGURE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text.strip()[:40]!r} is not an amount; accepted are 0.25 (USD), 200000tokens, 60requests")
    return (int(found[1]), Unit(found[2])) if found[2] else (nanos_from_usd(text.strip()), Unit.USD)


def read_reason(text: str) -> str:
    """A reason, on one line."""
    words = " ".join(text.split())
    if not words:
        raise ValueError("an empty reason explains nothing; accepted is any text")
    return words


def _refuse_raw_keys(parts: Iterable[tuple[str, str]]) -> None:
    if names_raw_key(parts):
        raise ValueError(WRONG_KEY)
