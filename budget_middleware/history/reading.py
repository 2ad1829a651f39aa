"""Reads a history: entries, refusals, changes of limits, gaps. Every call blocks: call it from a thread."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

from budget_middleware.core.answers import Entry
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.history.connections import HistoryDatabase, Row, open_database
from budget_middleware.history.rows import ENTRY_READ, REFUSAL_READ, WITH_BILLS, HistoryEntry, entry_of, refusal_of

FOREVER_MS = 2**62


class Extent(NamedTuple):
    """What the history has of one generation of a ledger: its first and last entry, and how far the store was.

    ``number`` counts the generations of a ledger. ``is_current`` of the last one: the others' stores are gone.
    """

    generation: str
    number: int
    store_generation: str
    first_seq: int | None
    first_ms: int | None
    last_seq: int
    last_ms: int
    head_seq: int
    head_ms: int
    copied_ms: int
    is_current: bool


class Gap(NamedTuple):
    """Entries that the history does not have: those after one seq and before another one, and how many bookings.

    None: nobody knows, for the store was gone before it was asked.
    """

    generation: str
    after_seq: int
    before_seq: int | None
    bookings: int | None
    found_ms: int
    why: str


class LimitChange(NamedTuple):
    """A runtime limit that was set, lifted (``-``) or, with None, forgotten; ``value`` is as the store has it."""

    generation: str
    version: int
    pattern: str
    field: str
    value: str | None
    time_ms: int


class History:
    """A history that is only read."""

    def __init__(self, database: HistoryDatabase) -> None:
        self._database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of a statement, which has ``?`` for its values."""
        return self._database.fetch(sql, values)

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        return self._database.stream(sql, values)

    def ledgers(self) -> list[str]:
        return [ledger for (ledger,) in self.fetch("select distinct ledger from progress order by ledger")]

    def extents(self, ledger: str) -> list[Extent]:
        """One for each generation, the oldest first."""
        of_generation = "from entries e where e.ledger = p.ledger and e.generation = p.generation"
        rows = self.fetch(
            "select p.generation, p.number, p.store_generation,"
            f" (select min(e.seq) {of_generation}), (select min(e.time_ms) {of_generation}),"
            " p.seq, p.time_ms, p.head_seq, p.head_ms, p.copied_ms from progress p"
            " where p.ledger = ? order by p.number",
            (ledger,),
        )
        return [Extent._make((*row, at == len(rows))) for at, row in enumerate(rows, start=1)]

    def gaps(self, ledger: str) -> list[Gap]:
        """In the order in which they were found."""
        rows = self.fetch(
            "select generation, after_seq, before_seq, bookings, found_ms, why from gaps where ledger = ?"
            " order by found_ms, after_seq",
            (ledger,),
        )
        return [Gap(*row) for row in rows]

    def entries(
        self,
        ledger: str,
        *,
        account: str | None = None,
        reservation_id: str | None = None,
        since_ms: int = 0,
        until_ms: int = FOREVER_MS,
        newest_first: bool = False,
        count: int | None = None,
    ) -> Iterator[HistoryEntry]:
        """Entries of a ledger (of an account, of a reservation), oldest first: by generation, then by seq.

        ``since_ms <= time < until_ms``, on the store's clock; ``count`` of them at most.
        """
        wanted: dict[str, Any] = {"e.ledger = ?": ledger, "e.time_ms >= ?": since_ms, "e.time_ms < ?": until_ms}
        if account is not None:
            wanted["e.account = ?"] = account
        if reservation_id is not None:
            wanted["e.reservation_id = ?"] = reservation_id
        order = "p.number desc, e.seq desc" if newest_first else "p.number, e.seq"
        rows = self._database.stream(
            f"select {ENTRY_READ} from entries e"
            f" join progress p on p.ledger = e.ledger and p.generation = e.generation{WITH_BILLS}"
            f" where {' and '.join(wanted)} order by {order}{f' limit {count:d}' if count is not None else ''}",
            list(wanted.values()),
        )
        return map(entry_of, rows)

    def journal(self, ledger: str, generation: str, *, after_seq: int = 0, count: int) -> list[Entry]:
        """The next ``count`` entries of one generation after a seq, as a store's journal is read."""
        rows = self.fetch(
            f"select {ENTRY_READ} from entries e{WITH_BILLS}"
            " where e.ledger = ? and e.generation = ? and e.seq > ? order by e.seq limit ?",
            (ledger, generation, after_seq, count),
        )
        return [entry_of(row).entry for row in rows]

    def refusals(self, ledger: str, *, since_ms: int = 0, until_ms: int = FOREVER_MS) -> Iterator[LoggedRefusal]:
        """The oldest first."""
        rows = self._database.stream(
            f"select {REFUSAL_READ} from refusals where ledger = ? and time_ms >= ? and time_ms < ? order by time_ms",
            (ledger, since_ms, until_ms),
        )
        return map(refusal_of, rows)

    def limit_changes(self, ledger: str, *, since_ms: int = 0, until_ms: int = FOREVER_MS) -> list[LimitChange]:
        """The oldest first."""
        rows = self.fetch(
            "select generation, version, pattern, field, value, time_ms from limit_changes"
            " where ledger = ? and time_ms >= ? and time_ms < ? order by time_ms, version, pattern, field",
            (ledger, since_ms, until_ms),
        )
        return [LimitChange(*row) for row in rows]


def open_history(url: str) -> History:
    """ValueError for a URL that names no database, in one line; DatabaseFault for one that cannot be read."""
    return History(open_database(url, for_reading=True))
