"""The bar of a counter: what of its limit is spent, reserved and available, and how much of its window is left."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from budget_middleware.admin.pages.figures import plain_amount, span
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import FOREVER_MS, is_rolling, window_named
from budget_middleware.operations.rows import CounterRow

PARTS: Final = 1_000
"""A bar is so many parts wide."""
_NEAR_PARTS: Final = 800


class Tone(StrEnum):
    """How far a counter has gone."""

    CALM = "calm"
    NEAR = "near"
    OVER = "over"
    UNLIMITED = "unlimited"


@dataclass(frozen=True, slots=True)
class Bar:
    """Widths in parts; ``label`` says the same in words."""

    spent: int
    reserved: int
    tone: Tone
    percent: str
    label: str


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """``passed`` parts of a window are over; None where it has no end that counts, as ``words`` say."""

    passed: int | None
    words: str


@dataclass(frozen=True, slots=True)
class ShownCounter:
    """A row with what is drawn of it; ``key`` names it in the page."""

    row: CounterRow
    key: str
    bar: Bar
    time_left: TimeLeft


def shown_counter(row: CounterRow, *, now_ms: int, timezone: ZoneInfo) -> ShownCounter:
    key = f"{row.account}|{row.period}|{row.window}|{row.unit}"
    return ShownCounter(row, key, bar_of(row), time_left_of(row, now_ms=now_ms, timezone=timezone))


def bar_of(row: CounterRow) -> Bar:
    spent, reserved = plain_amount(row.spent), plain_amount(row.reserved)
    used = f"{spent} spent, {reserved} reserved"
    if row.limit is None or row.available is None:
        return Bar(0, 0, Tone.UNLIMITED, "no limit", f"No limit: {used}")
    limit = row.limit.amount
    spent_parts, reserved_parts = _parts(row.spent.amount, limit), _parts(row.reserved.amount, limit)
    together = spent_parts + reserved_parts
    tone = Tone.OVER if row.available.amount <= 0 else Tone.NEAR if together >= _NEAR_PARTS else Tone.CALM
    drawn = min(spent_parts, PARTS)
    percent = f"{together // 10}% used"
    label = f"{percent} of {plain_amount(row.limit)}: {used}, {plain_amount(row.available)} available"
    return Bar(drawn, min(reserved_parts, PARTS - drawn), tone, percent, label)


def _parts(amount: int, limit: int) -> int:
    if amount <= 0:
        return 0
    return amount * PARTS // limit if limit > 0 else PARTS


def time_left_of(row: CounterRow, *, now_ms: int, timezone: ZoneInfo) -> TimeLeft:
    if row.unit is Unit.INFLIGHT:
        return TimeLeft(None, "each request gives its place back")
    if is_rolling(row.period):
        return TimeLeft(None, f"the last {row.period}")
    if row.resets_at is None:
        return TimeLeft(None, "no end")
    ends_ms = int(datetime.fromisoformat(row.resets_at).timestamp() * 1000)
    left_s = (ends_ms - now_ms) / 1000
    if left_s <= 0:
        return TimeLeft(PARTS, "over")
    try:
        starts_ms = window_named(row.period, row.window, timezone=timezone).starts_ms
    except ValueError:
        starts_ms = 0
    if starts_ms == 0 or ends_ms >= FOREVER_MS:
        return TimeLeft(None, f"{span(left_s)} left")
    return TimeLeft((now_ms - starts_ms) * PARTS // (ends_ms - starts_ms), f"{span(left_s)} left")
