"""What a guarded worker has booked: the proof that load was metered, and that nothing of it is held any more."""

import asyncio

from benchmarks.answers import COST_NANOS
from benchmarks.verbs import store_at
from benchmarks.workers import Process
from budget_middleware.core.model import Balance
from budget_middleware.stores.redis import RedisStore

_PATIENCE_S = 30


class BooksWrong(Exception):
    """The counters do not hold what the load must have cost."""


async def check_books(server: Process, *, namespace: str, at_least: int, at_most: int, account: str = "global") -> int:
    """The requests that are booked on an account, once nothing is held on it. Raises BooksWrong.

    Load that is cut off in the middle leaves requests of which nobody saw the answer: hence a range.
    """
    async with store_at(server, namespace=namespace) as store, asyncio.timeout(_PATIENCE_S):
        balance = await _balance(store, account)
        while balance.reserved_nanos:
            await asyncio.sleep(0.1)
            balance = await _balance(store, account)
    booked, rest = divmod(balance.spent_nanos, COST_NANOS)
    if rest or not at_least <= booked <= at_most:
        expected = f"{at_least} to {at_most} times {COST_NANOS}"
        raise BooksWrong(f"{account} of {namespace}: {balance.spent_nanos} nano-dollars are booked, not {expected}")
    return booked


async def _balance(store: RedisStore, account: str) -> Balance:
    views = await store.counters(account)
    if len(views) != 1:
        raise BooksWrong(f"{account} has {len(views)} counters, not one: was the load metered?")
    return views[0].balance
