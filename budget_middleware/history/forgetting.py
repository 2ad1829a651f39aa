"""Drops what is older than BUDGET_HISTORY_DAYS, in portions that keep nobody waiting.

What a restore needs stays: changes of limits, and the balances of counters whose windows may still count.
"""

from budget_middleware.history.connections import HistoryDatabase
from budget_middleware.history.partitions import drop_months_before

PORTION = 5_000
_LONGEST_WINDOW_MS = 366 * 86_400_000
_ALL = 1 << 62


def forget_before(database: HistoryDatabase, ledger: str, time_ms: int) -> bool:
    """Drop a portion of what is older; whether there may be more."""
    with database.transaction():
        if database.has_partitions:
            drop_months_before(database, ledger, time_ms)
        dropped = [
            _drop(database, "entries", "ledger, generation, seq", "time_ms", ledger, time_ms),
            _drop(database, "bookings", "ledger, generation, seq, part", "booked_ms", ledger, time_ms),
            _drop(database, "refusals", "ledger, time_ms, reservation_id", "time_ms", ledger, time_ms),
        ]
        if any(dropped):
            _drop_what_belonged(database, ledger)
        else:
            # A total lasts for ever, and a year's counter counts long after its last change.
            database.execute(
                "delete from balances where ledger = ? and last_ms < ? and period not like 'total%'",
                (ledger, time_ms - _LONGEST_WINDOW_MS),
            )
    return max(dropped) >= PORTION


def _drop(database: HistoryDatabase, table: str, key: str, time: str, ledger: str, time_ms: int) -> int:  # noqa: PLR0917
    return database.execute(
        f"delete from {table} where ({key}) in"
        f" (select {key} from {table} where ledger = ? and {time} < ? order by {time} limit {PORTION})",
        (ledger, time_ms),
    )


def _drop_what_belonged(database: HistoryDatabase, ledger: str) -> None:
    """Bills of steps that are gone. The last entries of one may still be there."""
    oldest = database.fetch(
        "select p.generation, (select min(e.step) from entries e"
        " where e.ledger = p.ledger and e.generation = p.generation) from progress p where p.ledger = ?",
        (ledger,),
    )
    for generation, step in oldest:
        database.execute(
            "delete from bills where ledger = ? and generation = ? and step < ?",
            (ledger, generation, _ALL if step is None else step),
        )
