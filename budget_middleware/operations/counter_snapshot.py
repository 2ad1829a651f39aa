"""All current counters as they were at one instant, of which faces show a page in any order.

Reading and ranking all counters is work in proportion to them, so a face keeps a snapshot for some seconds and makes
every page of it, whoever asks. Rows are made of a page alone.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

from budget_middleware.core.answers import CounterView
from budget_middleware.core.model import Counter
from budget_middleware.core.units import PLACES
from budget_middleware.operations.binding import read_limits
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counters import (
    PPM_OF_A_PERCENT,
    CounterPlace,
    matches,
    place_of,
    read_all_counters,
    read_counters,
    used_ppm,
)
from budget_middleware.operations.pieces import in_pieces
from budget_middleware.operations.rows import CounterRow


class CounterOrder(StrEnum):
    """What a page is sorted by."""

    USED = "used"
    SPENT = "spent"
    RESERVED = "reserved"
    AVAILABLE = "available"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class RankedCounter:
    """A counter, its limit, and how many millionths of that are used: less than 0 without one."""

    view: CounterView
    limit: int | None
    used_ppm: int

    @property
    def available(self) -> int | None:
        return None if self.limit is None else self.limit - self.view.balance.spent - self.view.balance.reserved


@dataclass(frozen=True, slots=True)
class CounterPage:
    """Some of the ``matching`` counters that were looked for, among ``total``."""

    rows: tuple[CounterRow, ...]
    matching: int
    total: int


@dataclass(frozen=True, slots=True)
class CounterSnapshot:
    """Counters of current windows at ``read_at_ms``, by the store's clock, in the order of their accounts."""

    read_at_ms: int
    counters: Sequence[RankedCounter]
    _row_of: Callable[[CounterView], CounterRow]
    _ordered: dict[tuple[CounterOrder, bool], Sequence[RankedCounter]] = field(default_factory=dict)

    def used_at_least(self, percent: int) -> int:
        """How many counters have used so much of their limit."""
        return sum(each.used_ppm >= PPM_OF_A_PERCENT * percent for each in self.counters)

    def page(
        self,
        *,
        match: str = "",
        order: CounterOrder = CounterOrder.USED,
        is_reversed: bool = False,
        offset: int = 0,
        count: int = 50,
    ) -> CounterPage:
        """``count`` rows from ``offset`` on of the accounts that contain a text, or match a pattern with * and ?."""
        ordered = self._in_order(order, is_reversed)
        chosen = [each for each in ordered if matches(each.view.counter.account, match)] if match else ordered
        rows = tuple(self._row_of(each.view) for each in chosen[offset : offset + count])
        return CounterPage(rows, len(chosen), len(self.counters))

    def rows_after(
        self, counter: Counter | None, *, match: str = "", over_percent: int | None = None, count: int = 100
    ) -> tuple[CounterRow, ...]:
        """Up to ``count`` rows, by account, of those behind a counter, which need not exist any more.

        ``match`` and ``over_percent`` as in `list_counters`.
        """
        start = 0 if counter is None else bisect_right(self.counters, place_of(counter), key=_place)
        wanted = (
            each.view
            for each in self.counters[start:]
            if (over_percent is None or each.used_ppm >= PPM_OF_A_PERCENT * over_percent)
            and (not match or matches(each.view.counter.account, match))
        )
        return tuple(map(self._row_of, islice(wanted, count)))

    def _in_order(self, order: CounterOrder, is_reversed: bool) -> Sequence[RankedCounter]:
        if order is CounterOrder.ACCOUNT:
            return self.counters[::-1] if is_reversed else self.counters
        known = self._ordered.get((order, is_reversed))
        if known is None:
            by = _RANKS[order]
            known = sorted(self.counters, key=by, reverse=is_reversed)
            self._ordered[order, is_reversed] = known
        return known


def _place(each: RankedCounter) -> CounterPlace:
    return place_of(each.view.counter)


def _used_first(each: RankedCounter) -> int:
    return -each.used_ppm


def _spent_first(each: RankedCounter) -> tuple[int, int]:
    """Figures of different units do not compare: money comes first."""
    return PLACES[each.view.counter.unit], -each.view.balance.spent


def _reserved_first(each: RankedCounter) -> tuple[int, int]:
    return PLACES[each.view.counter.unit], -each.view.balance.reserved


def _least_available_first(each: RankedCounter) -> tuple[int, bool, int]:
    left = each.available
    return PLACES[each.view.counter.unit], left is None, left or 0


_RANKS: dict[CounterOrder, Callable[[RankedCounter], Any]] = {
    CounterOrder.USED: _used_first,
    CounterOrder.SPENT: _spent_first,
    CounterOrder.RESERVED: _reserved_first,
    CounterOrder.AVAILABLE: _least_available_first,
}


async def read_account_rows(context: OperatorContext, account: str) -> tuple[int, tuple[CounterRow, ...]]:
    """The current counters of an account, and the time by the store's clock."""
    now_ms = (await context.store.head()).now_ms
    return now_ms, tuple(row for _, row in await read_counters(context, account, include_past=False))


async def read_snapshot(context: OperatorContext) -> CounterSnapshot:
    """Read and rank all current counters, and those that only a limit names."""
    now_ms = (await context.store.head()).now_ms
    read = await read_all_counters(context, await read_limits(context))
    ranked: list[RankedCounter] = []
    async for piece in in_pieces(read.shown):
        for each in piece:
            view = each.view
            limit = read.limit_of(view.counter)
            ranked.append(RankedCounter(view, limit, used_ppm(view, limit)))
    return CounterSnapshot(now_ms, ranked, read.row_of)
