"""Copiers and readers of one history."""

from collections import Counter as Tally

from budget_middleware.core.answers import Entry
from budget_middleware.core.journal.bookings import bookings_of, steps_of
from budget_middleware.core.model import Counter
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.history.connections import HistoryDatabase, open_database
from budget_middleware.history.copying import Copier
from budget_middleware.history.reading import History
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from tests.stores.clocked import ClockedRedisStore
from tests.stores.replicas import empty_in_process
from tests.stores.verbs import UTC

LEDGER = "budget"


class Histories:
    """Opens connections to one history, and closes them all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._databases: list[HistoryDatabase] = []

    def database(self) -> HistoryDatabase:
        self._databases.append(open_database(self.url))
        return self._databases[-1]

    def writer(self) -> HistoryWriter:
        return HistoryWriter(self.database(), LEDGER, timezone=UTC)

    def copier(self, store: Store, *, owner: str = "", page: int = 100) -> Copier:
        return Copier(store, self.writer(), owner=owner, page=page)

    def reader(self) -> History:
        return History(self.database())

    def entries(self) -> list[Entry]:
        return [each.entry for each in self.reader().entries(LEDGER)]

    def balances(self, generation: str | None = None) -> dict[Counter, int]:
        """What the counters of a generation (the current one) have spent, where that is not 0."""
        reader = self.reader()
        generation = generation or reader.extents(LEDGER)[-1].generation
        rows = reader.fetch(
            "select account, period, window_id, unit, spent from balances"
            " where ledger = ? and generation = ? and spent <> 0",
            (LEDGER, generation),
        )
        return {
            Counter(account, Period(period), window, Unit(unit)): spent for account, period, window, unit, spent in rows
        }

    def booked_nanos(self) -> int:
        """What all bookings come to."""
        ((nanos,),) = self.reader().fetch("select coalesce(sum(cost_nanos), 0) from bookings")
        return int(nanos)

    def close(self) -> None:
        for database in self._databases:
            database.close()


def booked_in(entries: list[Entry]) -> int:
    """What the bookings of entries come to."""
    return sum(booking.nanos for step in steps_of(entries) for booking in bookings_of(step, timezone=UTC))


async def lose(store: Store) -> None:
    """What a restart without persistence does to it."""
    if isinstance(store, MemoryStore):
        empty_in_process(store)
    else:
        assert isinstance(store, ClockedRedisStore)
        await store.forget_everything()


def spent_by_counter(entries: list[Entry]) -> dict[Counter, int]:
    """The sums of what entries added to *spent*, where they are not 0."""
    sums: Tally[Counter] = Tally()
    for entry in entries:
        sums[entry.counter] += entry.spent_delta
    return {counter: spent for counter, spent in sums.items() if spent}


async def spent_in(store: Store) -> dict[Counter, int]:
    """What the counters of a store show as spent, where that is not 0."""
    return {view.counter: view.balance.spent for view in await store.counters() if view.balance.spent}
