"""Writes amounts, times and durations for people: each with its unit, in digits of equal width."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from markupsafe import Markup

from budget_middleware.core.units import Amounts, Unit
from budget_middleware.operations.values import Figure, figure, iso

_MINUS: Final = "\N{MINUS SIGN}"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_UNIT_WORDS: Final = {Unit.TOKENS: "tokens", Unit.REQUESTS: "requests", Unit.INFLIGHT: "in flight"}


def amount(value: Figure) -> Markup:
    """An exact amount. Digits below a cent are shown too, in a paler style."""
    sign, digits = (_MINUS, value[1:]) if value.startswith("-") else ("", str(value))
    whole, _, decimals = digits.partition(".")
    grouped = f"{int(whole):,}"
    if value.unit is not Unit.USD:
        return Markup('<span class="figure">{}{} <span class="unit">{}</span></span>').format(
            sign, grouped, _UNIT_WORDS[value.unit]
        )
    cents, fine = decimals[:2], decimals[2:]
    fine_part = Markup('<span class="fine">{}</span>').format(fine)
    return Markup('<span class="figure">{}${}.{}{}</span>').format(sign, grouped, cents, fine_part)


def amounts(value: Amounts) -> Markup:
    """The amount of each unit that is not zero; $0 if all are."""
    of_units = zip(Unit, value, strict=True)
    some = [amount(figure(each, unit)) for unit, each in of_units if each] or [amount(figure(0))]
    return Markup(" + ").join(some)


def plain_amount(value: Figure) -> str:
    """The same as text, for labels."""
    return amount(value).striptags()


def span(seconds: float) -> str:
    """The two largest parts of a duration: ``3 d 4 h``, ``12 min 5 s``, ``0.4 s``."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def moment(iso_text: str) -> Markup:
    """A time as people read it, and as ISO 8601 for machines: ``30 Nov 2026 07:12:05 UTC``."""
    time = datetime.fromisoformat(iso_text)
    zone = time.tzname() or "UTC"
    text = f"{time.day} {time:%b %Y %H:%M:%S} {zone}"
    return Markup('<time datetime="{}">{}</time>').format(iso_text, text)


def instant(time_ms: int, timezone: ZoneInfo) -> Markup:
    """A time in milliseconds since 1970 in a zone."""
    return moment(iso(time_ms, timezone, timespec="seconds"))
