"""Reads a journal page by page, and notices where entries are missing."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from itertools import pairwise

from budget_middleware.core.answers import Entry
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.migrating.sides import Side
from budget_middleware.stores.base import Store
from budget_middleware.stores.journals import journals_of

PAGE = 1_000
PAGES_A_ROUND = 20
"""Then holds are looked at again, however busy the source is."""


class Journals:
    """The journal of a ledger from a seq on, or those of all its shards.

    ``lacks_bookings`` says that entries were trimmed before they were read: what they booked shows in the counters.
    """

    def __init__(self, journals: Sequence["_Journal"]) -> None:
        self._journals = journals

    @classmethod
    async def of(cls, side: Side, *, from_now_on: bool = False) -> "Journals":
        """From the oldest entries on, or only what comes."""
        journals = []
        for store in (await side.ask(lambda: journals_of(side.store))).values():
            head = await side.ask(store.head)
            journals.append(_Journal(side, store, head.generation, after_seq=head.seq if from_now_on else 0))
        return cls(journals)

    @property
    def entries(self) -> int:
        """How many were read."""
        return sum(journal.entries for journal in self._journals)

    @property
    def are_read_to_their_ends(self) -> bool:
        return all(journal.is_read_to_its_end for journal in self._journals)

    def take_lack(self) -> bool:
        """Whether bookings are missing since this was asked last."""
        lack = any(journal.lacks_bookings for journal in self._journals)
        for journal in self._journals:
            journal.lacks_bookings = False
        return lack

    async def pages(self) -> AsyncIterator[Sequence[Entry]]:
        """The next pages, at most PAGES_A_ROUND of each."""
        for journal in self._journals:
            async for page in journal.pages():
                yield page

    async def require_same(self) -> None:
        """OperationError where the source has lost writes: what follows has numbers that were others' before."""
        for journal in self._journals:
            await journal.require_same()


class _Journal:
    def __init__(self, side: Side, store: Store, generation: str, *, after_seq: int) -> None:
        self._side = side
        self._store = store
        self._generation = generation
        self._after_seq = after_seq
        self._last: Entry | None = None
        self.entries = 0
        self.is_read_to_its_end = False
        self.lacks_bookings = False

    async def pages(self) -> AsyncIterator[Sequence[Entry]]:
        self.is_read_to_its_end = False
        for _ in range(PAGES_A_ROUND):
            page = await self._side.ask(partial(self._store.journal, after_seq=self._after_seq, count=PAGE))
            if not page:
                self.is_read_to_its_end = True
                return
            before = [self._last] if self._last else []
            if any(earlier.bookings != entry.bookings_before for earlier, entry in pairwise([*before, *page])):
                self.lacks_bookings = True
            self._last, self._after_seq = page[-1], page[-1].seq
            self.entries += len(page)
            yield page

    async def require_same(self) -> None:
        head = await self._side.ask(self._store.head)
        if head.generation != self._generation or head.seq < self._after_seq:
            raise OperationError(
                f"{self._side.label}: it has lost writes (it was emptied, restored or failed over), so what was copied"
                " is no part of it any more; move the gateways back, empty the destination and begin again"
            )
