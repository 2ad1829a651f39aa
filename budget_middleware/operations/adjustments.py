"""Adjustments: what operators book by hand, and which amounts they have to confirm."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from budget_middleware.core.answers import CounterView
from budget_middleware.core.limits.limits import Claim, Slot
from budget_middleware.core.model import Counter, Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.windows import Period, Window, has_lapsed, period_order, window_at
from budget_middleware.operations.accounts import require_known, warnings_for
from budget_middleware.operations.binding import period_named, read_limits_of, targets_in
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import Confirmation, Unconfirmed, UnknownFate
from budget_middleware.operations.rolling import counted
from budget_middleware.operations.rows import ChangedRow, changed_row
from budget_middleware.operations.values import figure
from budget_middleware.stores.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What an adjustment did to each counter."""

    changes: tuple[ChangedRow, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Counters:
    """The claims on current windows, or the one target that the operator named."""

    claims: Sequence[Claim]
    named: tuple[Target, ...] | None = None


async def adjust(
    context: OperatorContext,
    account: str,
    amount_nanos: int,
    *,
    reason: str,
    window: str | None = None,
    is_new: bool = False,
    is_large: bool = False,
) -> Adjustment:
    """Add an amount (negative: a credit) to what an account has spent.

    It is booked in the current window of every period that is limited or has a counter, or in the one window that is
    named, such as ``month`` or ``month:2026-11``. Unconfirmed for an account that nobody ever used, unless ``is_new``,
    and for an amount beyond anything on its counters, unless ``is_large``; OperationError for a window that is none.

    UnknownFate if the store did not say in time whether it was booked.
    """
    counters = await _adjusted_counters(context, account, window)
    await require_known(context, account, is_new=is_new)
    if not is_large:
        await _require_usual_size(context, account, amount_nanos, counters, is_new=is_new)
    warnings = await warnings_for(account, context)
    return Adjustment(await _book(context, counters, amount_nanos, reason=reason), warnings)


async def _book(
    context: OperatorContext, counters: _Counters, amount_nanos: int, *, reason: str
) -> tuple[ChangedRow, ...]:
    try:
        answer = await context.ledger.adjust(
            counters.claims, amount=Amounts(usd=amount_nanos), reason=reason, targets=counters.named
        )
    except StoreUnavailable as error:
        raise UnknownFate(str(error)) from None
    # It may have expired other requests' reservations in passing.
    own = (entry for entry in answer.entries if entry.status is Status.ADJUSTED)
    return tuple(changed_row(entry, spent=True) for entry in own)


async def _adjusted_counters(context: OperatorContext, account: str, window: str | None) -> _Counters:
    limits = await read_limits_of(context, account)
    if window is None:
        periods = await _periods_in_use(context, account, limited=limits.limited_periods(account))
    else:
        periods = [period_named(window.partition(":")[0])]
    claims = [limits.claim(account, Slot(period)) for period in periods]
    if window is None or ":" not in window:
        return _Counters(claims)
    return _Counters(claims, await targets_in(context, window.partition(":")[2], claims))


async def _periods_in_use(context: OperatorContext, account: str, *, limited: list[Period]) -> list[Period]:
    current = await _current_windows(context)
    counters = await counted(await context.store.counters(account), current)
    in_use = {each.period for each in counters if each.unit is Unit.USD and current(each.period).id == each.window}
    # A credit given to what has lapsed could be spent: it is given only where an operator names that window.
    lasting = {period for period in (*in_use, *limited) if not has_lapsed(current(period))}
    return sorted(lasting, key=period_order) or [Period.MONTH]


async def _current_windows(context: OperatorContext) -> Callable[[Period], Window]:
    now_ms = (await context.store.head()).now_ms
    return lambda period: window_at(period, time_ms=now_ms, timezone=context.settings.timezone)


async def _require_usual_size(
    context: OperatorContext, account: str, amount_nanos: int, counters: _Counters, *, is_new: bool
) -> None:
    current = await _current_windows(context)
    targets = counters.named or [Target(claim.account, current(claim.period), claim.limit) for claim in counters.claims]
    known = await counted(await context.store.counters(account), current)
    largest_nanos = _largest_size(
        [(target.counter, target.limit) for target in targets], [each.view for each in known.values()]
    )
    if abs(amount_nanos) > largest_nanos and not (is_new and not largest_nanos):
        raise Unconfirmed(
            f"{figure(amount_nanos)} USD is more than the limit and the spending of every counter that it changes"
            f" (at most {figure(largest_nanos)} USD): check the amount",
            needs=Confirmation.LARGE_AMOUNT,
        )


def _largest_size(limits: Iterable[tuple[Counter, int | None]], views: Iterable[CounterView]) -> int:
    """The size of a counter is its limit or what it has spent, whichever is more; that of a new one is 0."""
    spent = {view.counter: abs(view.balance.spent) for view in views}
    return max((max(limit_nanos or 0, spent.get(counter, 0)) for counter, limit_nanos in limits), default=0)
