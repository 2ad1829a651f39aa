"""Limits in their canonical form, as the grammar of limits reads them."""

from collections.abc import Iterator

from budget_middleware.core.limits.limits import LimitMode, LimitRule, Slot, Terms
from budget_middleware.core.units import Unit, figure_text

NONE = "none"
"""The amount of a limit that is lifted."""


def limit_text(slot: Slot | None, terms: Terms) -> str:
    """The canonical text of a limit, without its temporary increases: ``parse_amounts`` reads it."""
    if slot is None:
        return NONE
    unit = "" if slot.unit is Unit.USD else slot.unit
    amount = f"{NONE} {unit}".rstrip() if terms.amount is None else f"{figure_text(terms.amount, slot.unit)}{unit}"
    period = "" if slot.unit is Unit.INFLIGHT else f"/{slot.period}"
    return f"{amount}{period}{''.join(f'!{mode}' for mode in _mode_texts(slot, terms))}"


def _mode_texts(slot: Slot, terms: Terms) -> Iterator[str]:
    if slot.mode is not LimitMode.ENFORCE:
        yield slot.mode
    if terms.alerts:
        yield f"alert={','.join(map(str, terms.alerts))}"
    if terms.carry:
        yield f"carry={terms.carry}%"


def rule_text(rule: LimitRule) -> str:
    """The canonical text of a rule: ``parse_limits`` reads it."""
    return f"{rule.pattern}={limit_text(rule.slot, rule.terms)}"
