"""Reads a journal page by page, and notices where entries are missing."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from itertools import pairwise

from budget_middleware.core.answers import Answer, Entry
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.migrating.sides import Side

PAGE = 1_000
PAGES_A_ROUND = 20
"""Then holds are looked at again, however busy the source is."""


class Journal:
    """The journal of a ledger from a seq on.

    ``lacks_bookings`` says that entries were trimmed before they were read: what they booked shows in the counters.
    """

    def __init__(self, side: Side, *, after_seq: int = 0) -> None:
        self._side = side
        self._after_seq = after_seq
        self._last: Entry | None = None
        self.entries = 0
        self.is_read_to_its_end = False
        self.lacks_bookings = False

    async def pages(self) -> AsyncIterator[Sequence[Entry]]:
        """The next pages, at most PAGES_A_ROUND."""
        self.is_read_to_its_end = False
        for _ in range(PAGES_A_ROUND):
            page = await self._side.ask(partial(self._side.store.journal, after_seq=self._after_seq, count=PAGE))
            if not page:
                self.is_read_to_its_end = True
                return
            before = [self._last] if self._last else []
            if any(earlier.bookings != entry.bookings_before for earlier, entry in pairwise([*before, *page])):
                self.lacks_bookings = True
            self._last, self._after_seq = page[-1], page[-1].seq
            self.entries += len(page)
            yield page

    def require_same(self, head: Answer, generation: str) -> None:
        """OperationError where the source has lost writes: what follows has numbers that were others' before."""
        if head.generation != generation or head.seq < self._after_seq:
            raise OperationError(
                f"{self._side.label}: it has lost writes (it was emptied, restored or failed over), so what was copied"
                " is no part of it any more; move the gateways back, empty the destination and begin again"
            )
