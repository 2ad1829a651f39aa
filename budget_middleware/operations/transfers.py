"""Transfers: what operators move from one account's budget to another's."""

from dataclasses import dataclass

from budget_middleware.core.limits.limits import Claim, Slot
from budget_middleware.core.model import Rejection, Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit, format_figure
from budget_middleware.core.windows import Period, period_order
from budget_middleware.operations.accounts import require_known, warnings_for
from budget_middleware.operations.binding import BindingLimits, period_named, read_limits_of, targets_in
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError, UnknownFate
from budget_middleware.operations.rows import ChangedRow, changed_row
from budget_middleware.stores.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class TransferDone:
    """What a transfer did to both counters; ``why_not`` is empty where it was done."""

    changes: tuple[ChangedRow, ...] = ()
    warnings: tuple[str, ...] = ()
    why_not: str = ""


async def transfer(
    context: OperatorContext,
    source: str,
    destination: str,
    amount: int,
    *,
    unit: Unit = Unit.USD,
    reason: str,
    period: str | None = None,
    window: str | None = None,
    is_new: bool = False,
) -> TransferDone:
    """Move an amount of what ``source`` may spend to ``destination``: one atomic step, refused if it is not available.

    It concerns one period, of which both accounts have a limit in ``unit``; where several are, it must be named.
    ``window`` names one that is not the current one. Unconfirmed for an account that nobody ever used, unless
    ``is_new``; OperationError for a period or window that is none, for an account and itself, and for an amount that is
    not above 0. UnknownFate if the store did not say in time whether it was done.
    """
    if amount <= 0:
        raise OperationError("a transfer moves an amount above 0: to move it back, name the accounts the other way")
    if source == destination:
        raise OperationError(f"{source} cannot transfer to itself")
    limits = {account: await read_limits_of(context, account) for account in (source, destination)}
    slot = Slot(_period(limits, unit, period), unit)
    giver, getter = (of.claim(account, slot) for account, of in limits.items())
    named = await _targets_named(context, giver, getter, window)
    for account in limits:
        await require_known(context, account, is_new=is_new)
    try:
        answer = await context.ledger.transfer(
            giver, getter, amount=Amounts(**{unit: amount}), reason=reason, targets=named
        )
    except StoreUnavailable as error:
        raise UnknownFate(str(error)) from None
    warnings = tuple([warning for account in limits for warning in await warnings_for(account, context)])
    if answer.rejection is not None:
        return TransferDone(warnings=warnings, why_not=_why_not(answer.rejection))
    # It may have expired other requests' reservations in passing.
    own = (entry for entry in answer.entries if entry.status is Status.TRANSFERRED)
    return TransferDone(tuple(changed_row(entry, spent=True) for entry in own), warnings)


def _period(limits: dict[str, BindingLimits], unit: Unit, named: str | None) -> Period:
    """The one that is named, else the only one of which both accounts have a limit."""
    wanted = None if named is None else period_named(named)
    limited = {account: of.limited_periods(account, unit) for account, of in limits.items()}
    shared = sorted(set.intersection(*map(set, limited.values())), key=period_order)
    if wanted is not None:
        shared = [period for period in shared if period == wanted]
    if len(shared) == 1:
        return shared[0]
    if shared:
        raise OperationError(f"both accounts have limits by {', '.join(shared)}: name one of these periods")
    of_each = "; ".join(f"{account} has {', '.join(periods) or 'none'}" for account, periods in limited.items())
    period = f"the period {wanted}" if wanted else "the same period"
    raise OperationError(f"budget is moved between limits of {period}, and not both accounts have one: {of_each}")


async def _targets_named(
    context: OperatorContext, giver: Claim, getter: Claim, window_id: str | None
) -> tuple[Target, Target] | None:
    if window_id is None:
        return None
    source, destination = await targets_in(context, window_id, (giver, getter))
    return source, destination


def _why_not(rejection: Rejection) -> str:
    (account, period, window, unit), (spent, reserved) = rejection.target.counter, rejection.balance
    available, limit, used, held = (
        format_figure(figure, unit) for figure in (rejection.limit - spent - reserved, rejection.limit, spent, reserved)
    )
    return f"{account} {period} {window} has {available} available: limit {limit}, spent {used}, reserved {held}"
