"""Which accounts an operator may have meant who has named an unknown one."""

import difflib
from typing import Final

from budget_middleware.core.payers.accounts import parts_of
from budget_middleware.operations.context import OperatorContext

_COMPARED_MAX: Final = 2_000
"""Comparing takes microseconds a name, and a store may have 100,000: so many of the same kind are looked at."""
_SHOWN: Final = 3


async def closest_accounts(context: OperatorContext, name: str) -> tuple[str, ...]:
    """Up to three accounts with counters, whose names are like this one; those of its kind, or none."""
    kinds = [kind for kind, _ in parts_of(name)]
    found: dict[str, None] = {}
    for view in await context.store.counters():
        account = view.counter.account
        if [kind for kind, _ in parts_of(account)] == kinds:
            found[account] = None
        if len(found) >= _COMPARED_MAX:
            break
    return tuple(difflib.get_close_matches(name, found, n=_SHOWN))
