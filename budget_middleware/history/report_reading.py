"""What a report asks a history: sums of bookings and refusals over a span of time, and what is missing from it.

Sums are made by the database, window by window, so that a million bookings take seconds and little memory.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.costs.usage import UsageClass
from budget_middleware.history.reading import Gap, History
from budget_middleware.history.schema import COUNT_COLUMNS

_IDS_AT_ONCE = 500

# Of a bill with several models only the first part is a booking of its own; each account of a transfer has its own.
_BOOKINGS = "sum(case when part = 0 or kind = 'transferred' then 1 else 0 end)"
# Only where there are shards does anybody ask: then the part with the bill counts.
_WITH_BILL = (
    "select o.*, case when exists (select 1 from bills b where b.ledger = o.ledger and b.generation = o.generation"
    " and b.step = o.seq) then 1 else 0 end as has_bill from bookings o"
)
_IN_SPAN = "where ledger = ? and booked_ms >= ? and booked_ms < ? and (generation <> ? or seq <= ?)"
_REFUSED = (
    "select accounts, model, sum(times) from refusals"
    " where ledger = ? and time_ms >= ? and time_ms < ? and is_enforced = 1 group by accounts, model"
)


class BookedSum(NamedTuple):
    """All bookings that are alike in accounts, model, provider and kind; ``counts`` are of the classes asked for."""

    payers: int
    model: str
    provider: str
    kind: str
    has_bill: bool
    bookings: int
    requests: int
    nanos: int
    omitted_lines: int
    counts: tuple[int, ...]


class RefusedSum(NamedTuple):
    """All refusals by enforced limits that are alike in accounts and model."""

    accounts: tuple[str, ...]
    model: str
    times: int


class MissingSpan(NamedTuple):
    """A gap between two entries that are there, by their times; None where there is none on that side."""

    since_ms: int | None
    until_ms: int | None
    bookings: int | None
    why: str


class ReportHistory:
    """A history as reports read it: one ledger, or all the shards of one, up to what is copied at this moment."""

    def __init__(self, history: History, namespace: str) -> None:
        self._history = history
        ledgers = history.ledgers()
        self.ledgers = [each for each in ledgers if each == namespace or each.startswith(f"{namespace}/")]
        self.is_sharded = len(self.ledgers) > 1
        # What is copied while this is read, the journal is asked for.
        self._until = {ledger: self._last(ledger) for ledger in self.ledgers}

    def _last(self, ledger: str) -> tuple[str, int]:
        sql = "select generation, seq from progress where ledger = ? order by number desc limit 1"
        ((generation, seq),) = self._history.fetch(sql, (ledger,))
        return generation, seq

    def overview(self, since_ms: int, until_ms: int) -> tuple[int, tuple[UsageClass, ...]]:
        """How many rows there are to add up, and the classes that are counted in any: to sum the others takes time."""
        n_rows, classes = 0, set[UsageClass]()
        sums = ", ".join(f"max({column})" for column in COUNT_COLUMNS)
        for ledger, last in self._until.items():
            ((n, *largest),) = self._history.fetch(
                f"select count(*), {sums} from bookings {_IN_SPAN}", (ledger, since_ms, until_ms, *last)
            )
            n_rows += n
            classes.update(each for each, count in zip(UsageClass, largest, strict=True) if count)
        return n_rows, tuple(each for each in UsageClass if each in classes)

    def payers(self, ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
        """The accounts of some sets of payers."""
        found: dict[int, tuple[str, ...]] = {}
        for at in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[at : at + _IDS_AT_ONCE]
            sql = f"select id, accounts from payer_sets where id in ({', '.join('?' * len(some))})"
            found.update((id_, tuple(accounts.split())) for id_, accounts in self._history.fetch(sql, some))
        return found

    def next_ms(self, since_ms: int) -> int | None:
        """When the next booking or refusal is, from a time on."""
        found: list[int] = []
        for table, time in (("bookings", "booked_ms"), ("refusals", "time_ms")):
            for ledger in self.ledgers:
                sql = f"select min({time}) from {table} where ledger = ? and {time} >= ?"
                found += [int(ms) for (ms,) in self._history.fetch(sql, (ledger, since_ms)) if ms is not None]
        return min(found, default=None)

    def booked(self, since_ms: int, until_ms: int, classes: Sequence[UsageClass]) -> Iterator[BookedSum]:
        sums = ("requests", "cost_nanos", "omitted_lines", *(f"n_{each}" for each in classes))
        summed = ", ".join(f"sum({each})" for each in sums)
        has_bill, bookings = ("has_bill", f"({_WITH_BILL}) t") if self.is_sharded else ("1", "bookings")
        alike = f"payers, model, provider, kind{', has_bill' if self.is_sharded else ''}"
        sql = (
            f"select payers, model, provider, kind, {has_bill}, {_BOOKINGS}, {summed}"
            f" from {bookings} {_IN_SPAN} group by {alike}"
        )
        for ledger, last in self._until.items():
            for row in self._history.fetch(sql, (ledger, since_ms, until_ms, *last)):
                # A sum of Postgres is a Decimal.
                yield BookedSum(*row[:4], bool(row[4]), *map(int, row[5:9]), tuple(map(int, row[9:])))  # type: ignore[call-arg]

    def refused(self, since_ms: int, until_ms: int) -> Iterator[RefusedSum]:
        for ledger in self.ledgers:
            for accounts, model, times in self._history.fetch(_REFUSED, (ledger, since_ms, until_ms)):
                yield RefusedSum(tuple(accounts.split()), model, int(times))

    def last_refusal_ms(self) -> int:
        sql = "select coalesce(max(time_ms), 0) from refusals where ledger = ?"
        return max((int(self._history.fetch(sql, (ledger,))[0][0]) for ledger in self.ledgers), default=0)

    def finalized(self, ids: Sequence[str]) -> set[str]:
        """Those of some reservations whose ending is in the history."""
        found: set[str] = set()
        for ledger in self.ledgers:
            for at in range(0, len(ids), _IDS_AT_ONCE):
                some = ids[at : at + _IDS_AT_ONCE]
                sql = (
                    "select distinct reservation_id from entries where ledger = ? and op = 'finalize'"
                    f" and reservation_id in ({', '.join('?' * len(some))})"
                )
                found.update(id_ for (id_,) in self._history.fetch(sql, (ledger, *some)))
        return found

    def missing(self) -> Iterator[MissingSpan]:
        """What it was found to lack, and what is older than it keeps."""
        for ledger in self.ledgers:
            gaps = self._history.gaps(ledger)
            oldest = next(iter(self._history.entries(ledger, count=1)), None)
            if oldest is not None and (forgotten := _forgotten(oldest.generation, oldest.entry, gaps)):
                yield MissingSpan(None, oldest.entry.time_ms, forgotten, "forgotten")
            for gap in gaps:
                yield MissingSpan(
                    self._time(ledger, gap.generation, "seq <= ?", gap.after_seq, "desc"),
                    self._time(ledger, gap.generation, "seq >= ?", gap.before_seq, "asc"),
                    gap.bookings,
                    gap.why,
                )

    def _time(self, ledger: str, generation: str, where: str, seq: int | None, order: str) -> int | None:
        if seq is None:
            return None
        sql = f"select time_ms from entries where ledger = ? and generation = ? and {where} order by seq {order}"
        rows = self._history.fetch(f"{sql} limit 1", (ledger, generation, seq))
        return int(rows[0][0]) if rows else None


def _forgotten(generation: str, oldest: Entry, gaps: Sequence[Gap]) -> int:
    """How many bookings the history had before its oldest entry, and has not any more."""
    # What was not there when it began was never there.
    begun_late = sum(
        gap.bookings or 0 for gap in gaps if gap.generation == generation and (gap.before_seq or 0) <= oldest.seq
    )
    return max(0, oldest.bookings_before - begun_late)
