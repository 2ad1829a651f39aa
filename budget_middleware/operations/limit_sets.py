"""The runtime limits of an account as a whole: read with a tag, replaced if that still fits; and of many at once."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from budget_middleware.core.limits.limits import LimitRule, Slot, SlotTerms, Terms
from budget_middleware.core.limits.patterns import is_open
from budget_middleware.core.limits.texts import limit_text
from budget_middleware.core.payers.accounts import GLOBAL, parts_of
from budget_middleware.operations.accounts import accounts_of_file, kinds_of_requests, require_known
from budget_middleware.operations.binding import read_runtime_limits_of, runtime_rules
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import Confirmation, OperationError, Unconfirmed
from budget_middleware.operations.limit_rows import LimitRow
from budget_middleware.operations.limits import LimitsChange, binding_limits, change_of
from budget_middleware.operations.operator_changes import note_change
from budget_middleware.operations.pieces import in_pieces

_TRIES_MAX: Final = 5
_AT_ONCE: Final = 64
"""So many changes are sent at once: a store that makes one step of several does so, and others take turns."""
_SHOWN_UNKNOWN: Final = 5


@dataclass(frozen=True, slots=True)
class LimitSet:
    """What is set on an account or pattern at run time, what binds it by whichever layer, and a tag of the former."""

    account: str
    limits: tuple[str, ...]
    binding: tuple[LimitRow, ...]
    tag: str


class ChangedMeanwhileError(OperationError):
    """The limits are not those that the operator has read."""


async def read_limit_set(context: OperatorContext, account: str) -> LimitSet:
    """Of an account or pattern, whether or not anything is set on it."""
    rules, _ = await _own_rules(context, account)
    texts = tuple(limit_text(rule.slot, rule.terms) for rule in rules)
    return LimitSet(account, texts, await binding_limits(context, account), _tag(rules))


async def replace_limits(
    context: OperatorContext,
    account: str,
    limits: SlotTerms,
    *,
    reason: str,
    expected_tag: str | None = None,
    is_new: bool = False,
) -> LimitsChange:
    """Make these the runtime limits of an account or pattern, in one step, and no others; what binds then.

    ChangedMeanwhileError where ``expected_tag`` is not that of the limits there are; Unconfirmed for an account that
    nobody ever used, unless ``is_new``.
    """
    await require_known(context, account, is_new=is_new)
    await note_change(context, f"{account}={_text_of(limits)}", reason=reason)
    for _ in range(_TRIES_MAX):
        rules, version = await _own_rules(context, account)
        if expected_tag is not None and expected_tag != _tag(rules):
            raise ChangedMeanwhileError(f"the limits of {account} were changed meanwhile: read them again")
        bound_to = None if expected_tag is None else version
        # Those of another account may change meanwhile, which is no reason to refuse.
        if await context.store.change_limits(account, _replacement(limits), at_version=bound_to) is not None:
            return await change_of(context, account)
    raise OperationError("limits are changed too often: nothing was changed, try again")


async def replace_limits_of_many(
    context: OperatorContext, limits_by_account: Mapping[str, SlotTerms], *, reason: str, is_new: bool = False
) -> int:
    """The same of many accounts and patterns, each in one step of its own; how many were set.

    All accounts are looked at before the first is changed. Where the store goes away on the way, some are set: doing it
    again does the rest.
    """
    if not is_new:
        await _require_all_known(context, limits_by_account)
    first, *_ = limits_by_account
    more = f" and {len(limits_by_account) - 1} more accounts" if len(limits_by_account) > 1 else ""
    await note_change(context, f"{first}={_text_of(limits_by_account[first])}{more}", reason=reason)
    async for batch in in_pieces(limits_by_account.items(), _AT_ONCE):
        changes = (context.store.change_limits(account, _replacement(limits)) for account, limits in batch)
        await asyncio.gather(*changes)
    return len(limits_by_account)


async def _require_all_known(context: OperatorContext, accounts: Iterable[str]) -> None:
    """Unconfirmed for accounts and patterns that nobody ever used: one reading of the store for all of them."""
    used = {view.counter.account for view in await context.store.counters()}
    used |= {pattern for pattern, _ in (await context.store.limits()).limits}
    used |= {rule.pattern for rule in context.settings.limits}
    used |= await asyncio.to_thread(accounts_of_file, context.settings)
    kinds = await asyncio.to_thread(kinds_of_requests, context.settings)
    unknown = [name for name in accounts if name not in used and not _stands_for_any(name, kinds)]
    if unknown:
        shown = ", ".join(unknown[:_SHOWN_UNKNOWN])
        more = f" and {len(unknown) - _SHOWN_UNKNOWN} more" if len(unknown) > _SHOWN_UNKNOWN else ""
        raise Unconfirmed(
            f"no counter and no limit of its own: {shown}{more}: check the spelling", needs=Confirmation.NEW_ACCOUNT
        )


def _stands_for_any(name: str, kinds: frozenset[str]) -> bool:
    parts = parts_of(name)
    return (name == GLOBAL or any(is_open(subject) for _, subject in parts)) and {kind for kind, _ in parts} <= kinds


async def _own_rules(context: OperatorContext, account: str) -> tuple[Sequence[LimitRule], int]:
    """What is set on the account or pattern itself, and the version of all limits."""
    runtime = await read_runtime_limits_of(context, account)
    return [rule for rule in runtime_rules(runtime) if rule.pattern == account], runtime.version


def _replacement(limits: SlotTerms) -> dict[Slot | None, Terms | None]:
    """Everything is forgotten first, then these are set."""
    return {None: None, **limits}


def _text_of(limits: SlotTerms) -> str:
    return "; ".join(limit_text(slot, terms) for slot, terms in limits.items()) or "no limit of its own"


def _tag(rules: Sequence[LimitRule]) -> str:
    """The same for the same limits, whoever set them, increases included."""
    text = "; ".join(f"{limit_text(rule.slot, rule.terms)} {rule.terms.increases}" for rule in rules)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
