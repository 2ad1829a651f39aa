"""What explanations ask a history: the entries of a reservation or of an account, and refusals of an account."""

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Counter
from budget_middleware.history.reading import History
from budget_middleware.history.rows import ENTRY_READ, REFUSAL_READ, WITH_BILLS, HistoryEntry, entry_of, refusal_of

_IDS_AT_ONCE = 500


class AccountPast(NamedTuple):
    """Entries of an account up to ``seq``, of one generation of a store, and how whole they are.

    ``accounts`` are those that entries of the same reservations name. Up to ``seq`` so many ``bookings`` were counted,
    and from ``unbroken_from_seq`` on none of them is missing; 0: none at all.
    """

    entries: Sequence[Entry]
    accounts: Sequence[tuple[str, str]]
    seq: int
    bookings: int
    unbroken_from_seq: int


class PastReader:
    """Reads one ledger."""

    def __init__(self, history: History, ledger: str) -> None:
        self._history = history
        self._ledger = ledger

    def of_reservation(self, id_: str) -> Iterator[HistoryEntry]:
        return self._history.entries(self._ledger, reservation_id=id_)

    def with_reason(self, reason: str) -> Iterator[HistoryEntry]:
        """Those of adjustments: no other entries are looked for by their reason."""
        ids = self._history.fetch(
            "select distinct reservation_id from entries where ledger = ? and op = 'adjust' and reason = ?",
            (self._ledger, reason),
        )
        for (id_,) in ids:
            yield from self.of_reservation(id_)

    def of_account(
        self, account: str, counters: Collection[Counter], generation: str, *, until_seq: int
    ) -> AccountPast:
        """Of some of its counters: an account has many windows, and few of them are asked for."""
        entries = self._of_counters(account, counters, generation, until_seq) if counters else []
        ids = list({entry.reservation_id for entry in entries})
        ((bookings,),) = self._history.fetch(
            "select bookings from progress where ledger = ? and generation = ?", (self._ledger, generation)
        )
        return AccountPast(entries, self._accounts(ids), until_seq, bookings, self._unbroken_from(generation))

    def _of_counters(self, account: str, counters: Collection[Counter], generation: str, until_seq: int) -> list[Entry]:
        windows = list({(str(counter.period), counter.window) for counter in counters})
        marks = ", ".join(["(?, ?)"] * len(windows))
        rows = self._history.stream(
            f"select {ENTRY_READ} from entries e{WITH_BILLS}"
            " where e.ledger = ? and e.account = ? and e.generation = ? and e.seq <= ?"
            f" and (e.period, e.window_id) in (values {marks}) order by e.seq",
            (self._ledger, account, generation, until_seq, *chain.from_iterable(windows)),
        )
        return [entry for _, entry in map(entry_of, rows) if entry.counter in counters]

    def _accounts(self, ids: Sequence[str]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for at in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[at : at + _IDS_AT_ONCE]
            sql = (
                "select reservation_id, account from entries where ledger = ?"
                f" and reservation_id in ({', '.join('?' * len(some))})"
                " group by reservation_id, account order by min(seq)"
            )
            found += [(id_, account) for id_, account in self._history.fetch(sql, (self._ledger, *some))]
        return found

    def _unbroken_from(self, generation: str) -> int:
        """The seq from which on no booking is missing; 0 where the history has them all."""
        last_gap = max(
            (gap.before_seq or 0 for gap in self._history.gaps(self._ledger) if gap.generation == generation), default=0
        )
        oldest = self._history.journal(self._ledger, generation, count=1)
        is_begun_late = bool(oldest) and oldest[0].bookings_before > 0
        return max(last_gap, oldest[0].seq if is_begun_late else 0)

    def refusals(self, account: str) -> Iterator[LoggedRefusal]:
        """Of requests that the account would have paid for, the oldest first."""
        escaped = account.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        rows = self._history.stream(
            f"select {REFUSAL_READ} from refusals where ledger = ? and ' ' || accounts || ' ' like ? escape '\\'"
            " order by time_ms",
            (self._ledger, f"% {escaped} %"),
        )
        return map(refusal_of, rows)
