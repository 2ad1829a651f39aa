"""Copies all journals of a store: one, or one for each of its shards, which are ledgers of their own in the history."""

from zoneinfo import ZoneInfo

from budget_middleware.history.connections import HistoryDatabase
from budget_middleware.history.copying import Copied, Copier, Lag
from budget_middleware.history.ledgers import ledger_of
from budget_middleware.history.one_thread import OneThread
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.journals import journals_of


class Copiers:
    """A copier for each journal, over one connection to the history."""

    def __init__(
        self, store: Store, database: HistoryDatabase, *, namespace: str, timezone: ZoneInfo, thread: OneThread
    ) -> None:
        self.database = database
        self._store = store
        self._namespace = namespace
        self._timezone = timezone
        self._thread = thread
        self._copiers: dict[str, Copier] = {}

    @property
    def lag(self) -> Lag:
        """Of all journals together; the seconds are those of the one that is furthest behind."""
        lags = [copier.lag for copier in self._copiers.values()]
        return Lag(sum(lag.entries for lag in lags), max((lag.seconds for lag in lags), default=0.0))

    @property
    def most_behind(self) -> int:
        """How many entries of one journal are not copied, at most: each keeps so many for itself."""
        return max((copier.lag.entries for copier in self._copiers.values()), default=0)

    @property
    def ledgers(self) -> list[str]:
        """Those that this process copies, as it has their leases."""
        return [ledger for ledger, copier in self._copiers.items() if copier.has_lease]

    async def copy_next(self) -> Copied:
        """The next entries of each journal. One that gives no answer keeps none of the others waiting."""
        entries, is_behind, failed = 0, False, None
        for name, journal in (await journals_of(self._store)).items():
            try:
                copied = await self._copier(name, journal).copy_next()
            except (StoreUnavailable, StoreRefused) as error:
                failed = failed or error
            else:
                entries += copied.entries
                is_behind = is_behind or copied.is_behind
        if failed is not None:
            raise failed
        return Copied(entries, is_behind)

    def _copier(self, name: str, journal: Store) -> Copier:
        ledger = ledger_of(self._namespace, name)
        if ledger not in self._copiers:
            writer = HistoryWriter(self.database, ledger, timezone=self._timezone)
            self._copiers[ledger] = Copier(journal, writer, thread=self._thread)
        return self._copiers[ledger]

    async def measure_lag(self) -> None:
        for copier in self._copiers.values():
            await copier.measure_lag()

    async def give_up(self) -> None:
        """Let another process go on at once."""
        for copier in self._copiers.values():
            await copier.give_up()
