"""In Postgres the table ``entries`` has a partition for each month, in UTC, so that old ones are dropped at once."""

from collections.abc import Iterable
from datetime import UTC, datetime

from budget_middleware.history.connections import HistoryDatabase

PREFIX = "entries_"


def month_of(time_ms: int) -> tuple[str, int, int]:
    """The name of its partition, and when it begins and ends."""
    at = datetime.fromtimestamp(time_ms / 1000, UTC)
    begins = datetime(at.year, at.month, 1, tzinfo=UTC)
    ends = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return f"{PREFIX}{begins:%Y_%m}", round(begins.timestamp() * 1000), round(ends.timestamp() * 1000)


class Partitions:
    """Makes the partitions that entries need."""

    def __init__(self, database: HistoryDatabase) -> None:
        self._database = database
        self._known: set[str] = set()

    def make_for(self, times_ms: Iterable[int]) -> None:
        for name, begins_ms, ends_ms in {month_of(time_ms) for time_ms in times_ms}:
            if name not in self._known:
                self._database.execute(
                    f"create table if not exists {name} partition of entries"
                    f" for values from ({begins_ms}) to ({ends_ms})"
                )
                self._known.add(name)

    def forget(self) -> None:
        """After a transaction that was rolled back, and with it what it made."""
        self._known.clear()


def drop_months_before(database: HistoryDatabase, ledger: str, time_ms: int) -> None:
    """Drop the months that are wholly over by then, unless another ledger has entries there."""
    names = database.fetch(
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " join pg_class p on p.oid = i.inhparent where p.relname = 'entries' order by c.relname"
    )
    last, _, _ = month_of(time_ms)
    for (name,) in names:
        if name >= last:
            return
        ((first, other),) = database.fetch(f"select min(ledger), max(ledger) from {name}")
        if {first, other} <= {ledger, None}:
            database.execute(f"drop table {name}")
