"""Runtime limits, which operators set while gateways run, and what binds by which layer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from budget_middleware.core.limits.arguments import SlotChoice, every_slot
from budget_middleware.core.limits.layering import Bound
from budget_middleware.core.limits.limits import LIFTED, Increase, LimitMode, Slot, SlotTerms, Terms
from budget_middleware.core.limits.patterns import is_open
from budget_middleware.core.limits.texts import NONE, limit_text
from budget_middleware.core.model import Balance
from budget_middleware.core.payers.accounts import masked, names_raw_key, parse_pattern, parts_of
from budget_middleware.core.periods import Period
from budget_middleware.core.units import Unit
from budget_middleware.operations.accounts import require_known, warnings_for
from budget_middleware.operations.binding import (
    BindingLimits,
    read_limits_of,
    read_runtime_limits_of,
    runtime_rules,
)
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counters import read_counters
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.limit_rows import LimitRow, limit_row
from budget_middleware.operations.rows import CounterRow
from budget_middleware.operations.values import figure, format_amount, iso

_RAISES_MAX = 5
"""How often raising is tried again where other limits change meanwhile."""


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
    await require_known(context, account, is_new=is_new)
    await context.store.change_limits(account, limits)
    return await change_of(context, account)


async def raise_limits(
    context: OperatorContext, account: str, raised: SlotTerms, *, until_ms: int, is_new: bool = False
) -> LimitsChange:
    """Raise what limits an account or pattern now by the amounts until a time; several increases of one limit add up.

    It is made a runtime limit, of which increases that have lapsed are dropped. OperationError where there is no limit
    to be raised; Unconfirmed as for ``set_limits``.
    """
    await require_known(context, account, is_new=is_new)
    now_ms = (await context.store.head()).now_ms
    if until_ms <= now_ms:
        raise OperationError(f"{iso(until_ms, context.settings.timezone, timespec='minutes')} is over already")
    for _ in range(_RAISES_MAX):
        runtime = await read_runtime_limits_of(context, account)
        bounds = BindingLimits(runtime=runtime, environment=context.settings.limits).of(account)
        changes: dict[Slot | None, Terms | None] = {
            slot: _raised(account, slot, bounds, Increase(terms.amount or 0, until_ms), now_ms)
            for slot, terms in raised.items()
            if slot is not None
        }
        # Somebody else may raise it too.
        if await context.store.change_limits(account, changes, at_version=runtime.version) is not None:
            return await change_of(context, account)
    raise OperationError("limits are changed too often: nothing was raised, try again")


def _raised(account: str, slot: Slot, bounds: Mapping[Slot, Bound], increase: Increase, now_ms: int) -> Terms:
    bound = bounds.get(slot)
    if bound is None or bound.terms.amount is None:
        lacking = limit_text(slot, LIFTED).removeprefix(NONE).lstrip(" /")
        raise OperationError(f"{account} has no limit of {lacking} to be raised: set one, or name one that it has")
    return bound.terms._replace(increases=(*bound.terms.increases_at(now_ms), increase))


async def clear_limits(context: OperatorContext, account: str, choice: SlotChoice = every_slot) -> LimitsChange:
    """Forget the runtime limits of an account or pattern that are meant."""
    runtime = await read_runtime_limits_of(context, account)
    slots = [rule.slot for rule in runtime_rules(runtime) if rule.pattern == account]
    cleared = [slot for slot in slots if choice(slot)]
    # Also what is no limit by itself, or cannot be read.
    has_fields = choice is every_slot and any(pattern == account for pattern, _ in runtime.limits)
    if not cleared and not has_fields:
        return LimitsChange(is_done=False)
    await context.store.change_limits(account, {None: None} if choice is every_slot else dict.fromkeys(cleared))
    change = await change_of(context, account)
    if None in slots and None not in cleared and choice is not every_slot:
        return replace(change, warnings=(*change.warnings, f"`none` still lifts all other limits of {account}"))
    return change


async def change_of(context: OperatorContext, account: str) -> LimitsChange:
    """What binds by now; of one account also what is left in the current windows."""
    warnings = list(await warnings_for(account, context))
    limits = await read_limits_of(context, account)
    counters = {} if any(is_open(subject) for _, subject in parts_of(account)) else await _counted(context, account)
    rows: list[LimitRow] = []
    for slot, bound in limits.of(account).items():
        row = limit_row(account, slot, *bound)
        amount = bound.terms.amount_at(limits.now_ms)
        if amount is not None and (found := counters.get((slot.period, slot.unit))):
            balance, counter = found
            left = figure(amount - balance.spent - balance.reserved, slot.unit)
            # Of what is enforced that may be more, by what was carried over.
            left = left if slot.mode is not LimitMode.ENFORCE or counter.available is None else counter.available
            row = replace(row, available=left)
            if slot.mode is LimitMode.ENFORCE and left.startswith("-"):
                warnings.append(_overspent(row, counter))
        rows.append(row)
    return LimitsChange(True, tuple(rows), tuple(warnings))


async def _counted(context: OperatorContext, account: str) -> dict[tuple[Period, Unit], tuple[Balance, CounterRow]]:
    counters = await read_counters(context, account, include_past=False)
    return {(row.period, row.unit): (each.view.balance, row) for each, row in counters}


def _overspent(row: LimitRow, counter: CounterRow) -> str:
    until = "ever" if counter.resets_at is None else f"before {counter.resets_at}"
    used = f"spent {format_amount(counter.spent)}, reserved {format_amount(counter.reserved)}"
    return f"{row.account} is beyond {row.text} ({used}): what costs something is not admitted {until}"


async def clear_raw_key_limits(context: OperatorContext) -> int:
    """Remove limits on keys that are no hash, and say how many; the accounts are not shown, they may be tokens."""
    raw = [name for name, _ in (await context.store.limits()).limits if names_raw_key(parse_pattern(name))]
    for name in dict.fromkeys(raw):
        await context.store.change_limits(name, {None: None})
    return len(raw)
