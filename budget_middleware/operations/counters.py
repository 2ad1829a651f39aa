"""The counters: what is spent, reserved and still available, and which of many are shown."""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from budget_middleware.core.model import Balance, Counter, CounterView
from budget_middleware.core.periods import Period, PeriodOrder, period_order
from budget_middleware.core.units import PLACES
from budget_middleware.core.windows import window_at
from budget_middleware.operations.binding import BindingLimits, read_limits
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.rows import CounterRow, counter_row


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
    views, limits = await _read_views(context, account, include_past=include_past)
    chosen = choose(views, limits.limit, match=match, over_percent=over_percent, top=top)
    return [_row(view, limits, context) for view in chosen]


async def read_counters(
    context: OperatorContext, account: str, *, include_past: bool
) -> list[tuple[CounterView, CounterRow]]:
    """The counters of an account, each with its row."""
    views, limits = await _read_views(context, account, include_past=include_past)
    return [(view, _row(view, limits, context)) for view in views]


def _row(view: CounterView, limits: BindingLimits, context: OperatorContext) -> CounterRow:
    return counter_row(view, limits.limit(view.counter), context.settings.timezone)


async def _read_views(
    context: OperatorContext, account: str | None, *, include_past: bool
) -> tuple[list[CounterView], BindingLimits]:
    now_ms = (await context.store.head()).now_ms
    limits = await read_limits(context)

    def current(period: Period) -> str:
        return window_at(period, time_ms=now_ms, timezone=context.settings.timezone).id

    views = {view.counter: view for view in await context.store.counters(account)}
    shown = [view for view in views.values() if include_past or current(view.counter.period) == view.counter.window]
    named = limits.exact_accounts if account is None else {account}
    shown += [
        CounterView(counter, Balance()) for counter in _limited_counters(named, limits, current) if counter not in views
    ]
    return sorted(shown, key=_reading_order), limits


def _limited_counters(
    accounts: Iterable[str], limits: BindingLimits, current: Callable[[Period], str]
) -> Iterator[Counter]:
    """The counters that a limit names, whether or not anything was booked on them yet."""
    for name in accounts:
        for period in limits.limited_periods(name):
            yield Counter(name, period, current(period))


def _reading_order(view: CounterView) -> tuple[str, PeriodOrder, str, int]:
    account, period, window, unit = view.counter
    return account, period_order(period), window, PLACES[unit]


def choose(
    views: Iterable[CounterView],
    limit_of: Callable[[Counter], int | None],
    *,
    match: str | None,
    over_percent: int | None,
    top: int | None,
) -> list[CounterView]:
    """Those that match and are that far, in their order; with ``top`` the ones that have spent most, most first."""
    chosen = [view for view in views if match is None or _matches(view.counter.account, match)]
    if over_percent is not None:
        chosen = [
            view
            for view in chosen
            if (limit := limit_of(view.counter)) is not None
            and 100 * (view.balance.spent + view.balance.reserved) >= over_percent * limit
        ]
    return chosen if top is None else sorted(chosen, key=_most_spent_first)[:top]


def _most_spent_first(view: CounterView) -> tuple[int, int]:
    """Figures of different units do not compare: money comes first."""
    return PLACES[view.counter.unit], -view.balance.spent


def _matches(account: str, pattern: str) -> bool:
    return fnmatchcase(account, pattern) if set(pattern) & set("*?") else pattern in account
