"""What would have let a refused request pass, in sentences."""

from collections.abc import Iterator
from dataclasses import dataclass

from budget_middleware.core.units import Unit
from budget_middleware.operations.rows import RefusalRow
from budget_middleware.operations.values import Figure, figure, format_amount


@dataclass(frozen=True, slots=True)
class Remedies:
    """By how much the limit was too low, and the largest estimate that would still have passed; 0: none would."""

    limit_needed: Figure
    would_fit: Figure
    sentences: tuple[str, ...]


def remedies_for(row: RefusalRow) -> Remedies:
    """Each of the sentences alone would have been enough, at the instant of the refusal."""
    unit = row.unit
    needed = figure(row.spent.amount + row.reserved.amount + row.estimate.amount, unit)
    fits = figure(max(0, row.limit.amount - row.spent.amount - row.reserved.amount), unit)
    return Remedies(needed, fits, tuple(_sentences(row, needed, fits)))


def _sentences(row: RefusalRow, needed: Figure, fits: Figure) -> Iterator[str]:
    short = format_amount(row.shortfall)
    if row.reason == "held":
        yield f"{short} less held by other requests: it could pass as soon as they ended, with BUDGET_WAIT_S by itself."
    yield f"A limit of {format_amount(needed)} instead of {format_amount(row.limit)}."
    if row.unit is Unit.USD and row.reason == "spent":
        yield f"A credit of {short} in window {row.window}."
    if not fits.is_nothing:
        yield f"A request of at most {format_amount(fits)} instead of {format_amount(row.estimate)}."
