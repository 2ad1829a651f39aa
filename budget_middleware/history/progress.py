"""How far each generation of a ledger was copied, as rows of ``progress``."""

from typing import NamedTuple

from budget_middleware.history.connections import HistoryDatabase, Row
from budget_middleware.history.position import Mark, Position

_COLUMNS = (
    "generation, number, store_generation, since_seq, seq, bookings, time_ms, mark_seq, mark_ms, mark_id,"
    " head_seq, head_ms, limits_version, copied_ms"
)


class Progress(NamedTuple):
    """What was copied of one generation, and how far its store was when it was last asked.

    ``generation`` is that of the store; where the store fell back to an earlier state, and wrote another story from
    there on, that story has a name of its own (``…#2``), and begins after ``since_seq``. ``number`` counts all of them.
    """

    generation: str
    number: int
    store_generation: str
    since_seq: int
    position: Position
    head_seq: int
    head_ms: int
    limits_version: int
    copied_ms: int


def read_progress(database: HistoryDatabase, ledger: str) -> list[Progress]:
    """The oldest generation first."""
    rows = database.fetch(f"select {_COLUMNS} from progress where ledger = ? order by number", (ledger,))
    return [_progress(row) for row in rows]


def _progress(row: Row) -> Progress:
    generation, number, store_generation, since, seq, bookings, time_ms, mark_seq, mark_ms, mark_id, *rest = row
    position = Position(seq, bookings, time_ms, Mark(mark_seq, mark_ms, mark_id))
    return Progress(generation, number, store_generation, since, position, *rest)


def insert_progress(database: HistoryDatabase, ledger: str, progress: Progress) -> None:
    """Begin a generation; nothing happens where somebody else has begun it."""
    database.execute(
        f"insert into progress (ledger, {_COLUMNS}) values ({', '.join('?' * 15)}) on conflict do nothing",
        (
            ledger,
            progress.generation,
            progress.number,
            progress.store_generation,
            progress.since_seq,
            *_figures(progress.position),
            progress.head_seq,
            progress.head_ms,
            progress.limits_version,
            progress.copied_ms,
        ),
    )


def move(database: HistoryDatabase, ledger: str, before: Progress, after: Progress) -> bool:
    """Move a position from where it was read; False where it is elsewhere by now."""
    changed = database.execute(
        "update progress set seq = ?, bookings = ?, time_ms = ?, mark_seq = ?, mark_ms = ?, mark_id = ?,"
        " head_seq = ?, head_ms = ?, limits_version = ?, copied_ms = ?"
        " where ledger = ? and generation = ? and seq = ? and limits_version = ?",
        (
            *_figures(after.position),
            after.head_seq,
            after.head_ms,
            after.limits_version,
            after.copied_ms,
            ledger,
            before.generation,
            before.position.seq,
            before.limits_version,
        ),
    )
    return changed == 1


def _figures(position: Position) -> tuple[int, int, int, int, int, str]:
    return (position.seq, position.bookings, position.time_ms, *position.mark)
