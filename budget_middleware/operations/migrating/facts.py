"""Copies what gateways find again: what uploaded files plan, and which batch a file of results is of.

Each is copied as it is: the first text of a name stays, so it is done at the beginning, for gateways that use the
destination already, and once more at the end. Tickets are not copied but handed over, with what they hold.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from budget_middleware.ledger.jobs.tickets import unpack_ticket
from budget_middleware.operations.migrating.sides import Side
from budget_middleware.stores.facts import Fact

_AT_ONCE: Final = 64


class FactCopy:
    """Copies facts from the source to the destination."""

    def __init__(self, source: Side, destination: Side) -> None:
        self._source = source
        self._destination = destination
        self._copied: set[str] = set()

    async def copy(self) -> None:
        """Copy those that are new."""
        found = await self._source.ask(self._source.store.all_facts)
        new = [fact for fact in found if fact.name not in self._copied and unpack_ticket(fact.text) is None]
        for some in _pages(new):
            await asyncio.gather(*map(self._keep, some))
            self._copied |= {fact.name for fact in some}

    async def _keep(self, fact: Fact) -> None:
        store = self._destination.store
        await self._destination.ask(partial(store.keep_fact, fact.name, fact.text, keep_ms=fact.left_ms))


def _pages(facts: Sequence[Fact]) -> Iterator[Sequence[Fact]]:
    return (facts[at : at + _AT_ONCE] for at in range(0, len(facts), _AT_ONCE))
