"""Phrases that every face writes: counted nouns, a counter in words, why a request was refused."""

from typing import Protocol

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.operations.rows import RefusalRow
from budget_middleware.operations.values import format_amount


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class _OfCounter(Protocol):
    @property
    def account(self) -> str: ...
    @property
    def period(self) -> Period: ...
    @property
    def window(self) -> str: ...
    @property
    def unit(self) -> Unit: ...


def counter_words(row: _OfCounter) -> str:
    """The counter of a row: its unit is named unless it is money."""
    words = f"{row.account} {row.period} {row.window}"
    return words if row.unit is Unit.USD else f"{words} {row.unit}"


def why_refused(row: RefusalRow) -> str:
    """The counter that refused and its figures, in one line."""
    why = (
        f"{counter_words(row)}: limit {format_amount(row.limit)},"
        f" spent {format_amount(row.spent)}, reserved {format_amount(row.reserved)},"
        f" short by {format_amount(row.shortfall)}"
    )
    why += f", for {row.model}" if row.model else ""
    if row.enforced:
        return why
    return f"{why}; {'a shadow limit' if row.mode is LimitMode.SHADOW else 'shadow mode'}: served all the same"
