"""Runtime limits, which operators set while gateways run, and what binds by which layer."""

from dataclasses import dataclass

from budget_middleware.core.accounts import masked, names_raw_key, parse_pattern
from budget_middleware.core.limit_texts import limit_text
from budget_middleware.core.limits import Slot, SlotTerms, Terms
from budget_middleware.core.windows import Period
from budget_middleware.operations.accounts import require_known, warnings_for
from budget_middleware.operations.binding import read_limits_of, read_runtime_limits_of, runtime_rules
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.limit_rows import LimitRow, limit_row
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
        limit_row(masked(rule.pattern), rule.slot, rule.terms, "runtime", masked(rule.pattern))
        for rule in runtime_rules(await context.store.limits())
        if rule.slot is not None
    ]


async def binding_limits(context: OperatorContext, account: str) -> tuple[LimitRow, ...]:
    """What binds an account, or all that a pattern names: of each slot the highest layer that has a limit."""
    bounds = (await read_limits_of(context, account)).of(account)
    return tuple(limit_row(account, slot, *bound) for slot, bound in bounds.items())


async def set_limits(
    context: OperatorContext, account: str, limits: SlotTerms, *, is_new: bool = False
) -> LimitsChange:
    """Limit an account or all that a pattern names; terms of LIFTED lift the limit of a slot.

    Unconfirmed for an account that nobody ever used, unless ``is_new``.
    """
    amounts = _stored_amounts(limits)
    await require_known(context, account, is_new=is_new)
    warnings = warnings_for(account, context.settings)
    for period, limit_nanos in amounts.items():
        await context.store.set_limit(account, period=period, limit_nanos=limit_nanos)
    return LimitsChange(True, await binding_limits(context, account), warnings)


def _stored_amounts(limits: SlotTerms) -> dict[Period, int | None]:
    amounts: dict[Period, int | None] = dict.fromkeys(STORED_PERIODS) if None in limits else {}
    for slot, terms in limits.items():
        is_stored = slot is None or (slot == Slot(slot.period) and slot.period in STORED_PERIODS)
        if not is_stored or terms != Terms(terms.amount):
            raise OperationError(
                f"{limit_text(slot, terms)} stands in BUDGET_LIMITS only; runtime limits are in USD and enforced, with"
                f" a period of {', '.join(STORED_PERIODS)}"
            )
    return amounts | {slot.period: terms.amount for slot, terms in limits.items() if slot is not None}


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
