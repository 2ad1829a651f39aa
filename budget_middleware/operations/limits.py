"""Runtime limits, which operators set while gateways run, and what binds by which layer."""

from collections.abc import Mapping
from dataclasses import dataclass

from budget_middleware.core.accounts import account_of, masked, names_raw_key, parse_pattern
from budget_middleware.core.windows import Period
from budget_middleware.operations.accounts import require_known, warnings_for
from budget_middleware.operations.binding import read_limits_of, read_runtime_limits_of, runtime_rules
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.rows import LimitRow
from budget_middleware.operations.values import figure
from budget_middleware.stores.limit_fields import STORED_PERIODS


@dataclass(frozen=True, slots=True)
class LimitsChange:
    """What binds an account after a change; ``is_done`` says whether there was anything to change."""

    is_done: bool
    binding: tuple[LimitRow, ...] = ()
    warnings: tuple[str, ...] = ()


async def list_limits(context: OperatorContext) -> list[LimitRow]:
    """All runtime limits; accounts that may be a raw token are masked."""
    return [
        LimitRow(
            masked(account_of("+".join(rule.kinds), "+".join(rule.subjects))),
            rule.period,
            figure(rule.limit_nanos),
            layer="runtime",
        )
        for rule in runtime_rules(await context.store.limits())
        if rule.period is not None
    ]


async def binding_limits(context: OperatorContext, account: str) -> tuple[LimitRow, ...]:
    """What binds an account, or all that a pattern names: of each period the highest layer that has a limit."""
    bounds = (await read_limits_of(context, account)).of(account)
    return tuple(LimitRow(account, period, figure(bound.limit_nanos), bound.layer) for period, bound in bounds.items())


async def set_limits(
    context: OperatorContext, account: str, amounts: Mapping[Period, int | None], *, is_new: bool = False
) -> LimitsChange:
    """Limit an account or all that a pattern names; an amount of None lifts the limit of a period.

    Unconfirmed for an account that nobody ever used, unless ``is_new``.
    """
    stored = {period: limit_nanos for period, limit_nanos in amounts.items() if period in STORED_PERIODS}
    if unstored := [period for period in amounts.keys() - stored.keys() if amounts[period] is not None]:
        raise OperationError(
            f"a limit per {', '.join(unstored)} stands in BUDGET_LIMITS only; runtime limits have a period of"
            f" {', '.join(STORED_PERIODS)}"
        )
    await require_known(context, account, is_new=is_new)
    warnings = warnings_for(account, context.settings)
    for period, limit_nanos in stored.items():
        await context.store.set_limit(account, period=period, limit_nanos=limit_nanos)
    return LimitsChange(True, await binding_limits(context, account), warnings)


async def clear_limits(context: OperatorContext, account: str, period: Period | None = None) -> LimitsChange:
    """Forget the runtime limits of an account or pattern, of one period or of all."""
    runtime = await read_runtime_limits_of(context, account)
    if not any(name == account and period in (None, each) for name, each in runtime.limits):
        return LimitsChange(is_done=False)
    await context.store.clear_limit(account, period=period)
    return LimitsChange(True, await binding_limits(context, account))


async def clear_raw_key_limits(context: OperatorContext) -> int:
    """Remove limits on keys that are no hash, and say how many; the accounts are not shown, they may be tokens."""
    raw = [name for name, _ in (await context.store.limits()).limits if names_raw_key(parse_pattern(name))]
    for name in dict.fromkeys(raw):
        await context.store.clear_limit(name, period=None)
    return len(raw)
