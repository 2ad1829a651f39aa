"""The fields and values of the hash of runtime limits: ``account|period`` and nano-dollars, or ``-``."""

import re
from collections.abc import Mapping

from budget_middleware.core.accounts import canonical_pattern
from budget_middleware.core.windows import PERIODS, Period

NO_LIMIT = "-"
"""Stands for a limit that is lifted."""

STORED_PERIODS = tuple(period for period in PERIODS if period is not Period.MINUTE)
"""Those that a runtime limit may have: one field each of a pattern, which workers of other versions know too."""

# Most are so, and an operator who lists 100,000 of them does not wait for a closer look.
_PLAIN_PATTERN = re.compile(r"key:[0-9a-f]{16}|(?!key:|global:)[a-z][a-z0-9_-]*:[A-Za-z0-9._/@:]{1,200}")


def pack_limit_field(pattern: str, period: Period) -> str:
    return f"{pattern}|{period}"


def unpack_limits(fields: Mapping[str, str]) -> tuple[dict[tuple[str, Period], int | None], list[str]]:
    """The limits, and the fields that cannot be read: requests look for the canonical form of a pattern only."""
    limits: dict[tuple[str, Period], int | None] = {}
    unreadable: list[str] = []
    for field, nanos in fields.items():
        try:
            limits[unpack_limit_field(field)] = unpack_runtime_limit(nanos)
        except ValueError:
            unreadable.append(field)
    return limits, unreadable


def unpack_limit_field(field: str) -> tuple[str, Period]:
    """ValueError for what is none."""
    pattern, period = field.split("|")
    if not _PLAIN_PATTERN.fullmatch(pattern) and canonical_pattern(pattern) != pattern:
        raise ValueError(f"{pattern[:80]!r} is not in its canonical form")
    return pattern, Period(period)


def unpack_runtime_limit(word: str) -> int | None:
    """Nano-dollars, None for a limit that is lifted; ValueError for what is neither."""
    if word != NO_LIMIT and not word.isdecimal():
        raise ValueError(f"{word[:40]!r} is no limit")
    return None if word == NO_LIMIT else int(word)


def pack_limit(limit: int | None) -> str:
    return NO_LIMIT if limit is None else str(limit)
