"""Reads from a history what a store that is gone, or fell back, had booked."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.costs.charges import CORRECTS
from budget_middleware.core.model import Counter
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.history.connections import HistoryDatabase
from budget_middleware.history.progress import Progress
from budget_middleware.history.restore_plan import LostEnding
from budget_middleware.history.rows import ENTRY_READ, WITH_BILLS, entry_of

_IDS_AT_ONCE = 500
LATE_MS = 60_000
"""Clocks of workers, and calls on their way, may differ by so much."""


class LostCounter(NamedTuple):
    """What was lost on a counter, and when it last changed."""

    spent: int
    last_ms: int


class Lost(NamedTuple):
    """A generation whose store is gone; of one that fell back, ``after_seq`` is what both stories have in common."""

    progress: Progress
    after_seq: int
    counters: dict[Counter, LostCounter]


def read_lost(database: HistoryDatabase, ledger: str, generations: Sequence[Progress], lost: Progress) -> Lost:
    """All that the counters of a generation had spent; of one that fell back, what they had spent after that."""
    stories = [
        each for each in generations if each.number > lost.number and each.store_generation == lost.store_generation
    ]
    columns = "account, period, window_id, unit"
    key = (ledger, lost.generation)
    if stories:
        after_seq = stories[0].since_seq
        rows = database.fetch(
            f"select {columns}, sum(spent_delta), max(time_ms) from entries"
            f" where ledger = ? and generation = ? and seq > ? group by {columns}",
            (*key, after_seq),
        )
    else:
        after_seq = 0
        rows = database.fetch(
            f"select {columns}, spent, last_ms from balances where ledger = ? and generation = ?", key
        )
    counters = {
        Counter(account, Period(period), window, Unit(unit)): LostCounter(int(spent), last_ms)
        for account, period, window, unit, spent, last_ms in rows
    }
    return Lost(lost, after_seq, counters)


def read_endings(
    database: HistoryDatabase, ledger: str, lost: Lost, *, remember_ms: int, remember_expired_ms: int
) -> list[LostEnding]:
    """Those that somebody may have sent, or may send, once more; and what had expired, and may end."""
    last_ms = lost.progress.position.time_ms
    found = database.fetch(
        "select distinct reservation_id from entries where ledger = ? and generation = ? and seq > ? and"
        " (time_ms >= ? and (op = ? or (status = ? and reason like ?))"
        " or time_ms >= ? and status = ? and spent_delta <> 0)",
        (
            ledger,
            lost.progress.generation,
            lost.after_seq,
            last_ms - remember_ms - LATE_MS,
            str(Op.FINALIZE),
            str(Status.ADJUSTED),
            f"{CORRECTS}%",
            last_ms - remember_expired_ms,
            str(Status.EXPIRED),
        ),
    )
    ids = [id_ for (id_,) in found]
    endings: list[LostEnding] = []
    for at in range(0, len(ids), _IDS_AT_ONCE):
        endings += _endings_of(database, ledger, lost, ids[at : at + _IDS_AT_ONCE])
    return sorted(endings, key=lambda ending: ending.time_ms)


def _endings_of(database: HistoryDatabase, ledger: str, lost: Lost, ids: Sequence[str]) -> Iterable[LostEnding]:
    rows = database.fetch(
        f"select {ENTRY_READ} from entries e{WITH_BILLS}"
        f" where e.ledger = ? and e.generation = ? and e.reservation_id in ({', '.join('?' * len(ids))})"
        " order by e.seq",
        (ledger, lost.progress.generation, *ids),
    )
    by_id: dict[str, list[Entry]] = {}
    for row in rows:
        entry = entry_of(row).entry
        by_id.setdefault(entry.reservation_id, []).append(entry)
    for id_, entries in by_id.items():
        last = entries[-1]
        yield LostEnding(
            id_,
            last.time_ms,
            lost=_booked(entry for entry in entries if entry.seq > lost.after_seq),
            total=_booked(entries),
            reason=last.reason,
            bill=last.bill,
            is_open=last.op not in (Op.FINALIZE, Op.ADJUST),
            is_correction=last.op is Op.ADJUST,
        )


def _booked(entries: Iterable[Entry]) -> dict[Counter, int]:
    booked: dict[Counter, int] = {}
    for entry in entries:
        booked[entry.counter] = booked.get(entry.counter, 0) + entry.spent_delta
    return {counter: amount for counter, amount in booked.items() if amount}


Booked = dict[str, dict[Counter, int]]
"""What ids have booked on each counter."""


def booked_in_later(database: HistoryDatabase, ledger: str, *, number: int, ids: Sequence[str]) -> Booked:
    """What some ids have booked in generations after one, as far as the history has it."""
    found: Booked = {}
    columns = "e.reservation_id, e.account, e.period, e.window_id, e.unit"
    for at in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[at : at + _IDS_AT_ONCE]
        rows = database.fetch(
            f"select {columns}, sum(e.spent_delta) from entries e"
            " join progress p on p.ledger = e.ledger and p.generation = e.generation"
            " where e.ledger = ? and p.number > ? and e.op in (?, ?)"
            f" and e.reservation_id in ({', '.join('?' * len(some))}) group by {columns}",
            (ledger, number, str(Op.FINALIZE), str(Op.ADJUST), *some),
        )
        for id_, account, period, window_id, unit, spent in rows:
            found.setdefault(id_, {})[Counter(account, Period(period), window_id, Unit(unit))] = int(spent)
    return found
