"""Waiting for what another process does. Only a failing test waits to the end of its time."""

import asyncio
from collections.abc import Awaitable, Callable

from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable


async def figures(store: Store) -> tuple[int, int]:
    """Spent and reserved in nano-dollars, of all counters together."""
    views = await store.counters()
    return sum(view.balance.spent for view in views), sum(view.balance.reserved for view in views)


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def until_figures(store: Store, *, spent: int, reserved: int = 0) -> None:
    """Until the counters say so, and then still; tells what they said instead."""
    found: object = None

    async def equal() -> bool:
        nonlocal found
        try:
            found = await figures(store)
        except (StoreUnavailable, StoreRefused) as error:
            found = error
        return found == (spent, reserved)

    try:
        await until(equal)
    except TimeoutError:
        raise AssertionError(f"expected {(spent, reserved)}, found {found}") from None
