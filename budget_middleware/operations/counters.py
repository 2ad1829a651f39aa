"""The counters: what is spent, reserved and still available, and which of many are shown."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import CounterView
from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.model import Balance, Counter
from budget_middleware.core.periods import Period, PeriodOrder, period_order
from budget_middleware.core.units import PLACES
from budget_middleware.core.windows import LAPSED, Window, previous_window, window_at, window_named
from budget_middleware.operations.binding import BindingLimits, read_limits, read_limits_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.limit_rows import terms_text
from budget_middleware.operations.pieces import in_pieces
from budget_middleware.operations.rolling import CountedView, counted
from budget_middleware.operations.rows import CounterRow, counter_row

LimitOf = Callable[[Counter], int | None]
CounterPlace = tuple[str, PeriodOrder, str, int]

PPM_OF_A_PERCENT = 10_000
_ALL_PPM = 1_000_000


async def list_counters(
    context: OperatorContext,
    account: str | None = None,
    *,
    include_past: bool = False,
    match: str | None = None,
    over_percent: int | None = None,
    top: int | None = None,
) -> list[CounterRow]:
    """The counters (of one account) in current windows, or in all; also those that only a limit names.

    ``match`` is a text in the account, or a pattern with ``*`` and ``?``; ``over_percent`` keeps those of whose limit
    so much is spent or reserved; ``top`` keeps the ones that have spent most, most first.
    """
    limits = await (read_limits(context) if account is None else read_limits_of(context, account))
    read = await _read(context, limits, account, include_past=include_past)
    views = [each.view for each in read.shown]
    chosen = choose(views, read.limit_of, match=match, over_percent=over_percent, top=top)
    return list(map(read.row_of, chosen))


class CountedCounters(NamedTuple):
    """Counters in their reading order, what limits each, and its row."""

    shown: list[CountedView]
    limit_of: LimitOf
    row_of: Callable[[CounterView], CounterRow]

    def rows(self) -> list[CounterRow]:
        return [self.row_of(each.view) for each in self.shown]


async def read_counters(
    context: OperatorContext, account: str, *, include_past: bool
) -> list[tuple[CountedView, CounterRow]]:
    """The counters of an account, each with its row."""
    limits = await read_limits_of(context, account)
    read = await _read(context, limits, account, include_past=include_past)
    return list(zip(read.shown, read.rows(), strict=True))


async def read_counters_of(context: OperatorContext, account: str, limits: BindingLimits) -> CountedCounters:
    """The current counters of an account under these limits."""
    return await _read(context, limits, account)


async def read_all_counters(context: OperatorContext, limits: BindingLimits) -> CountedCounters:
    """All current counters under these limits."""
    return await _read(context, limits, None)


async def _read(
    context: OperatorContext, limits: BindingLimits, account: str | None, *, include_past: bool = False
) -> CountedCounters:
    now_ms = (await context.store.head()).now_ms

    def current(period: Period) -> Window:
        return window_at(period, time_ms=now_ms, timezone=context.settings.timezone)

    def limit_of(counter: Counter) -> int | None:
        limit = limits.limit(counter)
        if limit is None:
            return None
        return 0 if counter.window.startswith(LAPSED) else limit + carried(counter)

    def carried(counter: Counter) -> int:
        previous = _previous_id(counter.period, counter.window, context.settings.timezone)
        carry = limits.carry(counter, previous) if previous else None
        if carry is None:
            return 0
        before = known.get(counter._replace(window=carry.previous))
        return carry.carried(before.view.balance.spent if before else 0)

    def row_of(view: CounterView) -> CounterRow:
        counter, zone = view.counter, context.settings.timezone
        by_mode, enforced = limits.unenforced(counter), limit_of(counter)
        if counter.window.startswith(LAPSED):
            by_mode = dict.fromkeys(by_mode, 0)
        if enforced is not None:
            by_mode[LimitMode.ENFORCE] = enforced
        terms = terms_text(limits.all_of(counter), zone)
        return counter_row(view, by_mode, zone, pattern=limits.pattern(counter), terms=terms)

    known = await counted(await context.store.counters(account), current)
    shown: list[CountedView] = []
    async for piece in in_pieces(known.values()):
        shown += (each for each in piece if include_past or current(each.counter.period).id == each.counter.window)
    named = limits.exact_accounts if account is None else {account}
    unused = (counter for counter in _limited_counters(named, limits, current) if counter not in known)
    shown += [CountedView(counter, (CounterView(counter, Balance()),)) for counter in unused]
    return CountedCounters(await _in_place(shown), limit_of, row_of)


async def _in_place(shown: Iterable[CountedView]) -> list[CountedView]:
    """In their reading order. Names of accounts are sorted in no time, and then the counters of each by themselves."""
    of_account: defaultdict[str, list[CountedView]] = defaultdict(list)
    async for piece in in_pieces(shown):
        for each in piece:
            of_account[each.counter.account].append(each)
    ordered: list[CountedView] = []
    async for accounts in in_pieces(sorted(of_account)):
        for account in accounts:
            ordered += sorted(of_account[account], key=lambda each: place_of(each.counter))
    return ordered


@lru_cache(1_024)
def _previous_id(period: Period, window_id: str, timezone: ZoneInfo) -> str:
    """The window before one of a counter; empty where there is none. 100,000 counters have a few windows."""
    try:
        window = window_named(period, window_id, timezone=timezone)
        return previous_window(window, timezone=timezone).id
    except ValueError:
        return ""


def _limited_counters(
    accounts: Iterable[str], limits: BindingLimits, current: Callable[[Period], Window]
) -> Iterator[Counter]:
    """The counters that a limit names, whether or not anything was booked on them yet."""
    for name in accounts:
        for period, unit, _ in limits.limited(name):
            yield Counter(name, period, current(period).id, unit)


def place_of(counter: Counter) -> CounterPlace:
    """Where a counter stands in the order in which they are read."""
    account, period, window, unit = counter
    return account, period_order(period), window, PLACES[unit]


def choose(
    views: Iterable[CounterView],
    limit_of: LimitOf,
    *,
    match: str | None,
    over_percent: int | None,
    top: int | None,
) -> list[CounterView]:
    """Those that match and are that far, in their order; with ``top`` the ones that have spent most, most first."""
    chosen = [view for view in views if match is None or matches(view.counter.account, match)]
    if over_percent is not None:
        chosen = [view for view in chosen if used_ppm(view, limit_of(view.counter)) >= PPM_OF_A_PERCENT * over_percent]
    return chosen if top is None else sorted(chosen, key=_most_spent_first)[:top]


def used_ppm(view: CounterView, limit: int | None) -> int:
    """How many millionths of its limit a counter has spent or reserved; less than 0 without a limit."""
    if limit is None:
        return -1
    used = view.balance.spent + view.balance.reserved
    if limit > 0:
        return used * _ALL_PPM // limit
    return _ALL_PPM if used >= 0 else 0


def _most_spent_first(view: CounterView) -> tuple[int, int]:
    """Figures of different units do not compare: money comes first."""
    return PLACES[view.counter.unit], -view.balance.spent


def matches(account: str, pattern: str) -> bool:
    """Whether an account contains a text, or matches a pattern with * and ?."""
    return fnmatchcase(account, pattern) if set(pattern) & set("*?") else pattern in account
