"""The text of what limits would have refused: a field for each limit of a day, and the figures of its sum."""

from collections.abc import Mapping
from contextlib import suppress

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.shadow import ShadowDay, ShadowLimit, ShadowSum
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period

LEFT_OUT = "left_out"
"""The field that counts the requests of limits that had no room."""

FIGURES = ("requests", "estimates", "enough", "first", "last")


def pack_shadow_limit(limit: ShadowLimit) -> str:
    return f"{limit.account}|{limit.period}|{limit.unit}|{limit.limit}|{limit.mode}"


def pack_shadow_sum(each: ShadowSum) -> str:
    return " ".join(f"{name}={figure}" for name, figure in zip(FIGURES, each, strict=True))


def unpack_shadow_day(day: str, fields: Mapping[str, str]) -> ShadowDay:
    """The sums that can be read."""
    sums: dict[ShadowLimit, ShadowSum] = {}
    for name, text in fields.items():
        with suppress(ValueError, KeyError):
            sums[_limit(name)] = _sum(text)
    left_out = fields.get(LEFT_OUT, "0")
    return ShadowDay(day, sums, int(left_out) if left_out.isdecimal() else 0)


def _limit(name: str) -> ShadowLimit:
    account, period, unit, limit, mode = name.split("|")
    return ShadowLimit(account, Period(period), Unit(unit), int(limit), LimitMode(mode))


def _sum(text: str) -> ShadowSum:
    named = dict(word.split("=", 1) for word in text.split(" "))
    return ShadowSum._make(int(named[name]) for name in FIGURES)
