"""What a guarded worker has booked: the proof that load was metered, and that nothing of it is held any more."""

import asyncio

from benchmarks.answers import COST_NANOS
from benchmarks.verbs import store_at
from benchmarks.workers import Process

_PATIENCE_S = 30


class BooksWrong(Exception):
    """The counters do not hold what the load must have cost."""


async def check_books(server: Process, *, namespace: str, at_least: int, at_most: int, account: str) -> int:
    """The requests that are booked on an account, once nothing is held on it. Raises BooksWrong.

    Load that is cut off in the middle leaves requests of which nobody saw the answer: hence a range.
    """
    async with store_at(server, namespace=namespace) as store:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while await store.holds():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise BooksWrong(f"{namespace}: something is held {_PATIENCE_S} s after the load") from None
        balances = [view.balance for view in await store.counters(account)]
    if len(balances) != 1 or balances[0].reserved:
        raise BooksWrong(f"{namespace}, {account}: one counter that holds nothing was to be there, not {balances}")
    spent = balances[0].spent
    booked, rest = divmod(spent, COST_NANOS)
    if rest or not at_least <= booked <= at_most:
        expected = f"{at_least} to {at_most} times {COST_NANOS}"
        raise BooksWrong(f"{namespace}, {account}: {spent} nano-dollars are booked, not {expected}")
    return booked
