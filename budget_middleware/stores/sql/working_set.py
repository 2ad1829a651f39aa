"""The tables of a database, as far as a batch of verbs needs them: read at once, changed here, written at once.

Theory of operation. The engine asks for rows one by one and at once; a database is asked for many, and answers later.
So a verb runs over what was read before. Where it looks for something that was not, `NotLoaded` says what: the verb is
undone, the driver reads that as well, and the verb runs again from its start. Verbs of a batch see what those before
them have changed, and one that raises is undone alone: each change notes what was there before it.

What was read is the truth until the end of the batch, since the transaction has a lock on the ledger.
"""

from collections.abc import Sequence

from msgspec.structs import astuple

from budget_middleware.core.model import Reservation
from budget_middleware.stores.sql.batch_data import Loaded, Wanted, Writes
from budget_middleware.stores.sql.changes import Changes
from budget_middleware.stores.sql.counter_set import CounterSet
from budget_middleware.stores.sql.reservation_set import ReservationSet
from budget_middleware.stores.sql.step_set import StepSet
from budget_middleware.stores.tables import Meta, Step


class WorkingSet:
    """See ``Tables``."""

    def __init__(self) -> None:
        self._changes = Changes()
        self._counters = counters = CounterSet(self._changes)
        self._reservations = reservations = ReservationSet(self._changes)
        self._steps = steps = StepSet(self._changes, reservations.reserve_steps)
        self._meta = self._meta_read = Meta("")
        self._before = (self._meta, 0)

        self.reservation, self.put = reservations.reservation, reservations.put
        self.due, self.pending = reservations.due, reservations.pending
        self.forget = reservations.forget
        self.adjustment, self.put_adjustment = reservations.adjustment, reservations.put_adjustment
        self.balances, self.book, self.retain = counters.balances, counters.book, counters.retain
        self.by_hand, self.put_by_hand = counters.by_hand, counters.put_by_hand
        self.drop_counter = counters.drop_counter
        self.void, self.trim, self.trim_voided = steps.void, steps.trim, steps.trim_voided

    @property
    def now_ms(self) -> int:
        return self._reservations.now_ms

    def open(self, now_ms: int) -> tuple[Meta, bool]:
        self.forget(now_ms)
        return self._meta, bool(self.due(now_ms, at_most=1))

    def put_meta(self, meta: Meta) -> None:
        self._meta = meta

    def append(self, step: Step, meta: Meta, *, is_voided: bool) -> None:
        self._meta = meta
        self._steps.append(step, is_voided=is_voided)

    def take(self, wanted: Wanted, loaded: Loaded) -> Wanted | None:
        """Know what was asked for, and was read now; what has to be read beside it, if anything."""
        if loaded.head is not None:
            self._reservations.now_ms, self._steps.voided = loaded.head.now_ms, loaded.head.voided_steps
            self._meta = self._meta_read = Meta(*loaded.head[1:-1])
        self._reservations.take(wanted, loaded)
        self._counters.take(wanted.counters, loaded.counters)
        over = self._counters.over(wanted.counters | wanted.pending_on, now_ms=self.now_ms)
        if unsure := over - wanted.pending_on:
            return Wanted(pending_on=unsure)
        for counter in over:
            if not self.pending(counter):
                self._counters.forget(counter)
        return None

    def known(self, ids: Sequence[str]) -> list[Reservation]:
        """Those of the reservations that are there."""
        return self._reservations.known(ids)

    def maybe_due(self) -> list[Reservation]:
        """Those that were read because their leases are over."""
        return self._reservations.maybe_due()

    def missing_counters(self, wanted: Wanted) -> Wanted:
        """The same without counters that were read."""
        return Wanted(counters=self._counters.missing(wanted.counters))

    def begin(self) -> None:
        """A verb begins, and what was changed before it stands."""
        self._changes.keep()
        self._before = (self._meta, self._steps.voided)

    def undo(self) -> None:
        """Take back what this verb has changed."""
        self._changes.undo()
        self._meta, self._steps.voided = self._before

    def writes(self) -> Writes:
        """All that was changed by verbs that were not undone."""
        writes = Writes()
        self._steps.write(writes)
        self._reservations.write(writes)
        self._counters.write(writes)
        if self._steps.is_changed() or self._meta != self._meta_read:
            writes.ledger = (*astuple(self._meta), self._steps.voided)
        return writes
