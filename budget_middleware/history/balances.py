"""The table ``balances``: what each counter showed after its last entry, so that a restore need not add up months.

Where entries are missing, what a store showed after the gap is taken over (a *baseline*): then the balances are those
of the store again, to the nano-dollar.
"""

from collections.abc import Iterable, Iterator, Sequence

from budget_middleware.core.answers import CounterProof, Entry
from budget_middleware.core.model import Counter
from budget_middleware.core.statuses import BOOKED_BY_HAND, Status
from budget_middleware.history.connections import HistoryDatabase, Row

_KEY = "ledger, generation, account, period, window_id, unit"
_FIGURES = "spent, reserved, adjusted, last_seq, last_ms"
_INSERT = f"insert into balances ({_KEY}, {_FIGURES}) values ({', '.join('?' * 11)}) on conflict ({_KEY}) do update set"
# An entry that a baseline has counted already comes to nothing.
_IF_NEWER = (
    "spent = excluded.spent, reserved = excluded.reserved, last_seq = excluded.last_seq, last_ms = excluded.last_ms"
    " where balances.last_seq < excluded.last_seq"
)
_POST = f"{_INSERT} adjusted = balances.adjusted + excluded.adjusted, {_IF_NEWER}"
_SET = f"{_INSERT} adjusted = excluded.adjusted, {_IF_NEWER}"
# As the stores have it: a part of *spent* that is more than the whole is not so.
_CAP = (
    "update balances set adjusted = spent where ledger = ? and generation = ? and account = ? and period = ?"
    " and window_id = ? and unit = ? and last_seq = ? and adjusted > spent"
)


def post_entries(database: HistoryDatabase, ledger: str, generation: str, entries: Iterable[Entry]) -> None:
    """Lead the balances to the figures of entries, which come in their order."""
    rows: list[Row] = []
    for entry in _decisive(entries):
        key = (ledger, generation, *_names(entry.counter))
        adjusted = entry.spent_delta if entry.status in BOOKED_BY_HAND else 0
        rows.append((*key, entry.spent, entry.reserved, adjusted, entry.seq, entry.time_ms))
        if entry.status is Status.REPAIRED:
            # What came before has to be there when the part is looked at.
            database.execute_many(_POST, rows)
            database.execute(_CAP, (*key, entry.seq))
            rows = []
    database.execute_many(_POST, rows)


def _decisive(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The last entry of each counter, and those before it that change more than the figures."""
    pending: dict[Counter, Entry] = {}
    for entry in entries:
        if entry.status in BOOKED_BY_HAND or entry.status is Status.REPAIRED:
            pending.pop(entry.counter, None)
            yield entry
        else:
            pending[entry.counter] = entry
    yield from pending.values()


def take_baseline(
    database: HistoryDatabase, ledger: str, generation: str, proofs: Sequence[CounterProof], *, time_ms: int
) -> None:
    """Take over what a store shows; counters that it has not any more are back at nothing."""
    if not proofs:
        return
    database.execute(
        "update balances set spent = 0, reserved = 0, adjusted = 0"
        " where ledger = ? and generation = ? and last_seq <= ?",
        (ledger, generation, min(proof.seen_at_seq for proof in proofs)),
    )
    rows = [
        (
            ledger,
            generation,
            *_names(proof.counter),
            proof.balance.spent,
            proof.balance.reserved,
            proof.adjusted,
            proof.seen_at_seq,
            time_ms,
        )
        for proof in proofs
    ]
    database.execute_many(_SET, rows)


def _names(counter: Counter) -> tuple[str, str, str, str]:
    account, period, window, unit = counter
    return account, str(period), window, str(unit)
