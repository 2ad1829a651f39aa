"""The table ``bookings``: what each verb booked, once whatever number of counters it was booked on."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Entry
from budget_middleware.core.costs.usage import UsageClass
from budget_middleware.core.journal.bookings import Booking, bookings_of
from budget_middleware.core.statuses import Op
from budget_middleware.history.connections import HistoryDatabase, Row
from budget_middleware.history.schema import BOOKING_COLUMNS

# `where true`, without which SQLite would take the `on` for that of a join.
_INSERT_PAYERS = (
    "insert into payer_sets select coalesce(max(id), 0) + 1, ? from payer_sets where true on conflict do nothing"
)

RESTORE_REASON = "restore"
"""Begins the reason of each booking of a restore, which an earlier generation has booked already."""

MIGRATED_REASON = "migrated"
"""Begins the reason of each booking of a migration: the old store has booked it, if its journal was copied too."""

_PAYERS_REMEMBERED = 10_000
_INSERT = f"insert into bookings ({', '.join(BOOKING_COLUMNS)}) values ({', '.join('?' * len(BOOKING_COLUMNS))})"


class BookingTable:
    """Adds the bookings of steps. ``timezone`` is that of the windows."""

    def __init__(self, database: HistoryDatabase, ledger: str, *, timezone: ZoneInfo) -> None:
        self._database = database
        self._ledger = ledger
        self._timezone = timezone
        self._payers: dict[tuple[str, ...], int] = {}

    def add(self, generation: str, steps: Sequence[Sequence[Entry]], *, is_first: bool) -> None:
        """Add what steps of a generation have booked, except what an earlier one had booked before its store was lost.

        Workers send the endings of the last minutes again after a loss, and a restore books what was lost. A migration
        books in one sum for each counter what the old store had booked request by request.
        """
        counted_before = (RESTORE_REASON,) if is_first else (RESTORE_REASON, MIGRATED_REASON)
        booked_before = set[str]() if is_first else self._booked_before(generation, steps)
        self._database.execute_many(
            _INSERT,
            [
                self._row(generation, booking)
                for step in steps
                if not (step[0].reservation_id in booked_before or step[0].reason.startswith(counted_before))
                for booking in bookings_of(step, timezone=self._timezone)
            ],
        )

    def _booked_before(self, generation: str, steps: Sequence[Sequence[Entry]]) -> set[str]:
        ids = list({step[0].reservation_id for step in steps if step[0].op is Op.FINALIZE})
        if not ids:
            return set()
        found = self._database.fetch(
            "select distinct reservation_id from entries where ledger = ? and generation <> ? and op = 'finalize'"
            f" and reservation_id in ({', '.join('?' * len(ids))})",
            (self._ledger, generation, *ids),
        )
        return {id_ for (id_,) in found}

    def _row(self, generation: str, booking: Booking) -> Row:
        counts = booking.counts
        return (
            self._ledger,
            generation,
            booking.seq,
            booking.part,
            booking.booked_ms,
            booking.time_ms,
            str(booking.kind),
            booking.reservation_id,
            self._payers_id(booking.accounts),
            booking.model,
            booking.provider,
            booking.requests,
            booking.nanos,
            booking.omitted_lines,
            *(counts.get(each, 0) for each in UsageClass),
        )

    def _payers_id(self, accounts: tuple[str, ...]) -> int:
        known = self._payers.get(accounts)
        if known is not None:
            return known
        if len(self._payers) >= _PAYERS_REMEMBERED:
            self._payers.clear()
        text = " ".join(accounts)
        # Two copiers may choose one number at a time: then the later inserts nothing, and looks again.
        for _ in range(5):
            if found := self._database.fetch("select id from payer_sets where accounts = ?", (text,)):
                self._payers[accounts] = id_ = int(found[0][0])
                return id_
            self._database.execute(_INSERT_PAYERS, (text,))
        raise AssertionError("it was inserted in this transaction")

    def forget(self) -> None:
        """After a transaction that was rolled back: its ids may be somebody else's."""
        self._payers.clear()
