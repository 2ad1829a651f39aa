"""Which accounts a request can have, and whether one was ever used.

A slip of the pen in an account or a namespace books money where nobody looks for it, so an account that nobody knows
has to be confirmed.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from budget_middleware.core.limits.patterns import is_open
from budget_middleware.core.payers.accounts import GLOBAL, MODEL, parts_of
from budget_middleware.opening import read_accounts_file
from budget_middleware.operations.binding import BindingLimits, read_runtime_limits_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import Confirmation, Unconfirmed
from budget_middleware.payers.accounts_file import Accounts, accounts_in, accounts_of, kinds_of
from budget_middleware.prices import PriceBook
from budget_middleware.prices.limited_names import warnings_for_models
from budget_middleware.settings import Settings, SettingsError


def kinds_of_requests(settings: Settings) -> frozenset[str]:
    """The kinds of account that a request can have; SettingsError if the accounts file cannot be used.

    It may read that file, as the next function: an event loop asks in a thread.
    """
    return kinds_of(_filed(settings)).union({source.kind for source in settings.accounts}, {MODEL, GLOBAL})


def accounts_of_file(settings: Settings) -> frozenset[str]:
    """The accounts that BUDGET_ACCOUNTS_FILE names; SettingsError as above."""
    return accounts_of(_filed(settings))


def _filed(settings: Settings) -> Accounts:
    return read_accounts_file(settings, accounts_in) or {}


async def warnings_for(account: str, context: OperatorContext) -> tuple[str, ...]:
    """Why no request may ever have this account, if so: what is set or booked there would concern nobody."""
    kinds = dict(parts_of(account)).keys()
    unknown = sorted(kinds - await asyncio.to_thread(kinds_of_requests, context.settings))
    if not unknown:
        return model_warnings([account], lambda: context.prices) if MODEL in kinds else ()
    return (f"{unknown_kinds_message(unknown)}; unless accounts_source names it, no request has this account",)


def model_warnings(patterns: Iterable[str], open_prices: Callable[[], PriceBook]) -> tuple[str, ...]:
    """Of these those that name a model as the price book does not; none if that cannot be opened here."""
    named = [pattern for pattern in patterns if MODEL in dict(parts_of(pattern))]
    with suppress(SettingsError):
        return tuple(warnings_for_models(named, open_prices())) if named else ()
    return ()


def unknown_kinds_message(unknown: Iterable[str]) -> str:
    return f"neither BUDGET_ACCOUNTS nor BUDGET_ACCOUNTS_FILE has a source for {', '.join(unknown)}"


async def require_known(context: OperatorContext, name: str, *, is_new: bool) -> None:
    """Unconfirmed for an account, or a pattern, that no gateway ever used, unless the operator says that it is new."""
    if is_new:
        return
    store, namespace = context.store, context.settings.namespace
    if (await store.head()).seq == 0 and not (await store.limits_page()).limits:
        others = await store.neighbours()
        neighbours = f" (this store also has: {', '.join(others[:5])})" if others else ""
        raise Unconfirmed(
            f"namespace {namespace!r} has 0 counters and nothing was ever booked in it{neighbours}: check"
            " BUDGET_NAMESPACE and BUDGET_STORE_URL",
            needs=Confirmation.NEW_ACCOUNT,
        )
    if not await _is_known(context, name):
        count = len(await store.counters())
        raise Unconfirmed(
            f"{name} has no counter and no limit of its own (counters in namespace {namespace!r}: {count}):"
            " check its spelling",
            needs=Confirmation.NEW_ACCOUNT,
        )


async def _is_known(context: OperatorContext, name: str) -> bool:
    runtime = await read_runtime_limits_of(context, name)
    limits = BindingLimits(runtime=runtime, environment=context.settings.limits)
    if name in limits.exact_accounts or any(pattern == name for pattern, _ in runtime.limits):
        return True
    parts = parts_of(name)
    if name == GLOBAL or any(is_open(part) for _, part in parts):
        # It stands for accounts to come, whose kinds at least must exist.
        return {kind for kind, _ in parts} <= await asyncio.to_thread(kinds_of_requests, context.settings)
    filed = await asyncio.to_thread(accounts_of_file, context.settings)
    return name in filed or bool(await context.store.counters(name))
