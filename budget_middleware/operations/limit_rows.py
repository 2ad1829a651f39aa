"""Rows of limits: what a layer says of a slot of an account."""

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from budget_middleware.core.limits.limits import LimitMode, Slot, Terms
from budget_middleware.core.limits.texts import limit_text
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.operations.values import OMITTED, Figure, Omitted, figure, iso


@dataclass(frozen=True, slots=True)
class IncreaseRow:
    """What a limit is raised by until a time."""

    amount: Figure
    unit: Unit
    until: str


@dataclass(frozen=True, slots=True)
class LimitRow:
    """What a layer of limits says of a slot of an account; ``limit`` is None where it lifts the limit.

    ``text`` is the limit as limits are written, ``pattern`` what it is set on; omitted where that is the account.
    ``available`` is told of one account after a change. What lifts all limits has no period.
    """

    account: str
    period: Period | None
    limit: Figure | None
    layer: str
    unit: Unit
    mode: LimitMode
    alert_percents: tuple[int, ...] | Omitted
    carry_percent: int | Omitted
    increases: tuple[IncreaseRow, ...] | Omitted
    text: str
    pattern: str | Omitted
    available: Figure | Omitted = OMITTED


def limit_row(account: str, slot: Slot | None, terms: Terms, layer: str, pattern: str) -> LimitRow:
    period, unit, mode = slot or (None, Unit.USD, LimitMode.ENFORCE)
    increases = tuple(IncreaseRow(figure(each.amount, unit), unit, iso(each.until_ms)) for each in terms.increases)
    return LimitRow(
        account,
        period,
        figure(terms.amount, unit),
        layer,
        unit,
        mode,
        alert_percents=terms.alerts or OMITTED,
        carry_percent=terms.carry or OMITTED,
        increases=increases or OMITTED,
        text=limit_text(slot, terms),
        pattern=pattern if pattern != account else OMITTED,
    )


def terms_text(limits: Mapping[Slot, Terms], timezone: ZoneInfo) -> str:
    """The limits as they are written that have more than an amount; empty where none has."""
    more = {slot: terms for slot, terms in limits.items() if terms != Terms(terms.amount)}
    return "; ".join(_with_increases(slot, terms, timezone) for slot, terms in more.items())


def _with_increases(slot: Slot, terms: Terms, timezone: ZoneInfo) -> str:
    increases = (
        f"+{figure(each.amount, slot.unit)} until {iso(each.until_ms, timezone, timespec='minutes')}"
        for each in terms.increases
    )
    return " ".join([limit_text(slot, terms), *increases])
