"""Writes a history: the lease of a ledger, and batches of its journal. Every call blocks: call it from a thread.

Theory of operation. A batch and the new position are one transaction, which begins by moving the position from where
the writer had read it; where that has changed, another process wrote meanwhile, and nothing is written (`Overtaken`).
So entries are copied once whoever copies them, and the lease only keeps two processes from doing the same work.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Answer, CounterProof, Entry
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.history.balances import post_entries, take_baseline
from budget_middleware.history.booking_rows import BookingTable
from budget_middleware.history.connections import HistoryDatabase
from budget_middleware.history.partitions import Partitions
from budget_middleware.history.position import Batch, Missing, Position, Why
from budget_middleware.history.progress import Progress, insert_progress, move, read_progress
from budget_middleware.history.rows import entry_row, refusal_row
from budget_middleware.history.schema import ENTRY_COLUMNS
from budget_middleware.stores.records.limit_fields import pack_limit_value
from budget_middleware.stores.runtime_limits import LimitKey, LimitValue

_INSERT_ENTRY = f"insert into entries ({', '.join(ENTRY_COLUMNS)}) values ({', '.join('?' * len(ENTRY_COLUMNS))})"
_INSERT_REFUSAL = f"insert into refusals values ({', '.join('?' * 18)}) on conflict do nothing"


class Overtaken(Exception):
    """Another process has copied meanwhile: nothing was written."""


class HistoryWriter:
    """Writes what one ledger's journal says."""

    def __init__(self, database: HistoryDatabase, ledger: str, *, timezone: ZoneInfo) -> None:
        self.database = database
        self.ledger = ledger
        self._partitions = Partitions(database)
        self._bookings = BookingTable(database, ledger, timezone=timezone)

    def take_lease(self, owner: str, *, lease_ms: int) -> bool:
        """Take the lease, or renew it; False as long as it is another's."""
        now_ms = self.database.clock_ms()
        return (
            self.database.execute(
                "insert into leases (ledger, owner, until_ms) values (?, ?, ?) on conflict (ledger) do update"
                " set owner = excluded.owner, until_ms = excluded.until_ms"
                " where leases.owner = excluded.owner or leases.until_ms <= ?",
                (self.ledger, owner, now_ms + lease_ms, now_ms),
            )
            == 1
        )

    def give_up_lease(self, owner: str) -> None:
        self.database.execute("delete from leases where ledger = ? and owner = ?", (self.ledger, owner))

    def generations(self) -> list[Progress]:
        """How far each generation was copied, the oldest first."""
        return read_progress(self.database, self.ledger)

    def begin_generation(self, head: Answer, *, after: Progress | None) -> Progress:
        """Another store answers than the one before, which is gone: what it had last may never have been copied."""
        begun = Progress(
            head.generation,
            number=after.number + 1 if after else 1,
            store_generation=head.generation,
            since_seq=0,
            position=Position(),
            head_seq=head.seq,
            head_ms=head.now_ms,
            limits_version=-1,
            copied_ms=head.now_ms,
        )
        with self._transaction():
            self._require_current(after)
            if after:
                gap = Missing(after.position.seq, None, None, Why.STORE_GONE)
                self._add_gap(after.generation, gap, found_ms=head.now_ms)
            insert_progress(self.database, self.ledger, begun)
        return begun

    def begin_after_fall(
        self, head: Answer, at: Position, *, after: Progress, current: Progress, proofs: Sequence[CounterProof]
    ) -> Progress:
        """The store fell back to an earlier position ``after`` which it wrote what it has not any more.

        What it writes from there on is another story, with a name of its own.
        """
        stories = [each for each in self.generations() if each.store_generation == head.generation]
        begun = after._replace(
            generation=f"{head.generation}#{len(stories) + 1}",
            number=current.number + 1,
            since_seq=at.seq,
            position=at,
            head_seq=head.seq,
            head_ms=head.now_ms,
            limits_version=-1,
            copied_ms=head.now_ms,
        )
        with self._transaction():
            self._require_current(current)
            lost = after.position.bookings - at.bookings
            gap = Missing(at.seq, after.position.seq + 1, lost, Why.STORE_FELL_BACK)
            self._add_gap(after.generation, gap, found_ms=head.now_ms)
            insert_progress(self.database, self.ledger, begun)
            take_baseline(self.database, self.ledger, begun.generation, proofs, time_ms=head.now_ms)
        return begun

    def write(self, before: Progress, batch: Batch, head: Answer, *, baseline: Sequence[CounterProof] = ()) -> Progress:
        """Copy a batch. Overtaken if another process has moved the position; then nothing is written."""
        after = before._replace(
            position=batch.position, head_seq=head.seq, head_ms=head.now_ms, copied_ms=self.database.clock_ms()
        )
        entries = [entry for step in batch.steps for entry in step]
        with self._transaction():
            self._move(before, after)
            if batch.missing is not None:
                self._add_gap(before.generation, batch.missing, found_ms=head.now_ms)
            self._insert_steps(before.generation, batch.steps)
            self._bookings.add(before.generation, batch.steps, is_first=before.number == 1)
            take_baseline(self.database, self.ledger, before.generation, baseline, time_ms=head.now_ms)
            post_entries(self.database, self.ledger, before.generation, entries)
        return after

    def write_limits(
        self,
        before: Progress,
        changes: Mapping[LimitKey, LimitValue],
        gone: Sequence[LimitKey],
        *,
        version: int,
        now_ms: int,
    ) -> Progress:
        """Note what has become of limits; those that are ``gone`` are forgotten. Overtaken as `write`."""
        after = before._replace(limits_version=version)
        rows = [(key, pack_limit_value(value)) for key, value in changes.items()]
        forgotten: list[tuple[LimitKey, str | None]] = [(key, None) for key in gone]
        with self._transaction():
            self._move(before, after)
            self.database.execute_many(
                "insert into limit_changes values (?, ?, ?, ?, ?, ?, ?)",
                [
                    (self.ledger, before.generation, version, pattern, str(field), value, now_ms)
                    for (pattern, field), value in [*rows, *forgotten]
                ],
            )
        return after

    def write_refusals(self, refusals: Sequence[LoggedRefusal]) -> None:
        """Those that are there already are left as they are."""
        with self._transaction():
            self.database.execute_many(_INSERT_REFUSAL, [refusal_row(self.ledger, each) for each in refusals])

    def last_refusal_ms(self) -> int:
        ((time_ms,),) = self.database.fetch("select max(time_ms) from refusals where ledger = ?", (self.ledger,))
        return time_ms or 0

    def close(self) -> None:
        self.database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self.database.transaction():
                yield
        except BaseException:
            self._bookings.forget()
            self._partitions.forget()
            raise

    def _move(self, before: Progress, after: Progress) -> None:
        if not move(self.database, self.ledger, before, after):
            raise Overtaken

    def _require_current(self, known: Progress | None) -> None:
        generations = self.generations()
        current = generations[-1] if generations else None
        if (current and (current.number, current.position)) != (known and (known.number, known.position)):
            raise Overtaken

    def _insert_steps(self, generation: str, steps: Sequence[Sequence[Entry]]) -> None:
        if self.database.has_partitions:
            self._partitions.make_for(step[0].time_ms for step in steps)
        self.database.execute_many(
            _INSERT_ENTRY,
            [entry_row(self.ledger, generation, entry, step=step[0].seq) for step in steps for entry in step],
        )
        self.database.execute_many(
            "insert into bills values (?, ?, ?, ?)",
            [(self.ledger, generation, step[0].seq, step[0].bill) for step in steps if step[0].bill],
        )

    def _add_gap(self, generation: str, gap: Missing, *, found_ms: int) -> None:
        self.database.execute(
            "insert into gaps values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
            (self.ledger, generation, gap.after_seq, gap.before_seq, gap.bookings, found_ms, str(gap.why)),
        )
