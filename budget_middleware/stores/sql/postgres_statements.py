"""What a batch of verbs reads and writes, as statements of Postgres.

The first parameter of each statement is the number of the ledger. A time that is NULL is that of the server.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from budget_middleware.databases.postgres.statements import (
    Parameter,
    Rows,
    Statement,
    number,
    numbers,
    text,
    texts,
)
from budget_middleware.stores.sql.batch_data import Head, Loaded, Row, Wanted, Writes
from budget_middleware.stores.sql.postgres_tables import (
    ADJUSTMENTS,
    COUNTERS,
    ENDED,
    JOURNAL,
    PENDING,
    TOTALS,
    VOIDED,
    Table,
)
from budget_middleware.stores.sql.sqlite_batch import line_beginning

_NOW: Final = "coalesce($2::bigint, floor(extract(epoch from clock_timestamp()) * 1000)::bigint)"

# The time is asked for in a statement of its own: a row that is waited for may be computed before the wait.
_LOCK: Final = "select id from budget_ledgers where id = $1::bigint for update"
_HEAD: Final = (
    f"select {_NOW}, generation, limits_version, seq, bookings, entries, forget_voided_ms, voided_steps"
    " from budget_ledgers where id = $1::bigint"
)
_PENDING: Final = (
    "select p.id, p.targets, p.asked, p.held, p.charge, p.created_ms, p.deadline_ms, p.trace, p.reserve_seq,"
    " j.entries, j.figures"
    " from budget_pending p left join budget_journal j on j.ledger = p.ledger and j.last_seq = p.reserve_seq"
    " where p.ledger = $1::bigint"
)
_PENDING_BY_ID: Final = f"{_PENDING} and p.id = any($2::text[])"
_DUE: Final = f"{_PENDING} and p.deadline_ms <= {_NOW}"
_OLDEST: Final = " order by p.deadline_ms, p.id limit $3::bigint"
_ON: Final = " and position(E'\\n' || $4::text in E'\\n' || p.targets) > 0"
_PENDING_ON: Final = (
    f"{_PENDING} and exists (select from unnest($2::text[]) as line"
    " where position(E'\\n' || line in E'\\n' || p.targets) > 0)"
)


_ENDED_BY_ID: Final = ENDED.select(f"forget_ms > {_NOW} and id = any($3::text[])")
_ADJUSTMENTS_BY_ID: Final = ADJUSTMENTS.select(f"forget_ms > {_NOW} and id = any($3::text[])")
_COUNTERS_BY_NAME: Final = COUNTERS.select("name = any($2::text[])")

_PUT_PENDING: Final = PENDING.put()
_DROP_PENDING: Final = PENDING.drop()
_PUT_ENDED: Final = ENDED.put()
_PUT_ADJUSTMENTS: Final = ADJUSTMENTS.put()
_PUT_COUNTERS: Final = COUNTERS.put()
_DROP_COUNTERS: Final = COUNTERS.drop()
_ADD_TO_TOTALS: Final = TOTALS.put(update="reserved = budget_totals.reserved + excluded.reserved")
_PUT_STEPS: Final = JOURNAL.put()
_PUT_VOIDED: Final = VOIDED.put()
_PUT_LEDGER: Final = (
    "update budget_ledgers set generation = $2::text, limits_version = $3::bigint, seq = $4::bigint,"
    " bookings = $5::bigint, entries = $6::bigint, forget_voided_ms = $7::bigint, voided_steps = $8::bigint"
    " where id = $1::bigint"
)
_CLEAR_VOIDED: Final = "delete from budget_voided where ledger = $1::bigint"
_VOID: Final = (
    "with moved as (delete from budget_journal where ledger = $1::bigint and last_seq = any($2::bigint[]) returning *)"
    " insert into budget_voided select * from moved"
)
_DROP_VOIDED: Final = (
    "delete from budget_voided where ledger = $1::bigint and last_seq = any(array("
    "select last_seq from budget_voided where ledger = $1::bigint order by last_seq limit $2::bigint))"
)
_TRIM: Final = (
    "delete from budget_journal where ledger = $1::bigint and last_seq < coalesce((select last_seq from budget_journal"
    " where ledger = $1::bigint and entries > $2::bigint order by last_seq limit 1), 9223372036854775807)"
)
_FREED: Final = "select pg_notify($1::text, $2::text)"

FORGOTTEN_AT_ONCE: Final = 2_000
"""So many rows of a table are dropped at most whose time has come: they are not found any more as it is."""

# Rows that a verb is changing are passed over, so that neither waits for the other.
_FORGET: Final = (
    "with gone as (delete from {table} where ledger = $1::bigint and {key} = any(array("
    "select {key} from {table} t where ledger = $1::bigint and {time} <= $2::bigint{unless}"
    f" order by {{time}} limit {FORGOTTEN_AT_ONCE} for update skip locked))"
    " and {time} <= $2::bigint returning 1) select count(*) from gone"
)
_UNLESS_HELD: Final = (
    " and not exists (select from budget_pending p where p.ledger = $1::bigint"
    " and position(E'\\n' || t.name || ' ' in E'\\n' || p.targets) > 0)"
)
_FORGETS: Final = (
    _FORGET.format(table="budget_ended", key="id", time="forget_ms", unless=""),
    _FORGET.format(table="budget_adjustments", key="id", time="forget_ms", unless=""),
    _FORGET.format(table="budget_counters", key="name", time="keep_until_ms", unless=_UNLESS_HELD),
)

_MOST_NOTICE_CHARACTERS: Final = 2_000
"""A notice may have 8,000 bytes."""

Take = Callable[[Loaded, Rows], None]


def locking_reads(wanted: Wanted, *, ledger: int, now_ms: int | None) -> list[tuple[Statement, Take]]:
    """What a transaction begins with; each statement with what puts its rows where they belong."""
    of = number(ledger)
    return [
        (Statement("begin isolation level read committed read write"), _nothing),
        (Statement(_LOCK, [of]), _nothing),
        (Statement(_HEAD, [of, _time(now_ms)]), _take_head),
        *reads(wanted, ledger=ledger, now_ms=now_ms),
    ]


def snapshot(*, ledger: int, now_ms: int | None) -> list[tuple[Statement, Take]]:
    """What a transaction begins with that sees one instant, and locks nothing."""
    return [
        (Statement("begin isolation level repeatable read read only"), _nothing),
        (Statement(_HEAD, [number(ledger), _time(now_ms)]), _take_head),
    ]


def reads(wanted: Wanted, *, ledger: int, now_ms: int | None) -> Iterator[tuple[Statement, Take]]:
    """What is read in a transaction that has its lock."""
    of, now = number(ledger), _time(now_ms)
    if wanted.reservations:
        ids = texts([*wanted.reservations])
        yield Statement(_PENDING_BY_ID, [of, ids]), _take_pending
        yield Statement(_ENDED_BY_ID, [of, now, ids]), _take_ended
    if wanted.adjustments:
        yield Statement(_ADJUSTMENTS_BY_ID, [of, now, texts([*wanted.adjustments])]), _take_adjustments
    if wanted.counters:
        yield Statement(_COUNTERS_BY_NAME, [of, texts([each.name for each in wanted.counters])]), _take_counters
    if wanted.due:
        yield Statement(_DUE + _OLDEST, [of, now, number(wanted.due)]), _take_due
    for counter, at_most in wanted.due_on.items():
        line = text(line_beginning(counter))

        def take_due_on(loaded: Loaded, rows: Rows, counter: object = counter) -> None:
            loaded.due_on[counter] = rows  # type: ignore[index]  # It is the counter of this turn.

        yield Statement(_DUE + _ON + _OLDEST, [of, now, number(at_most), line]), take_due_on
    if wanted.pending_on:
        lines = texts([line_beginning(each) for each in wanted.pending_on])
        yield Statement(_PENDING_ON, [of, lines]), _take_pending


def writes(changes: Writes, *, ledger: int, channel: str) -> Iterator[Statement]:
    """What a transaction ends with, but for its commit."""
    of = number(ledger)
    if changes.ledger is not None:
        generation, *figures = changes.ledger
        yield Statement(_PUT_LEDGER, [of, text(generation), *map(number, figures)])
    if changes.clear_voided:
        yield Statement(_CLEAR_VOIDED, [of])
    for put, table, rows in _puts(changes):
        if rows:
            yield Statement(put, [of, *table.arrays(rows)])
    if changes.drop_pending:
        yield Statement(_DROP_PENDING, [of, texts(changes.drop_pending)])
    if changes.drop_counters:
        yield Statement(_DROP_COUNTERS, [of, texts(changes.drop_counters)])
    yield from _moves(changes, of)
    for notice in _notices(changes.freed):
        yield Statement(_FREED, [text(channel), text(notice)])


def _puts(changes: Writes) -> Iterator[tuple[str, Table, Sequence[Row]]]:
    yield _PUT_PENDING, PENDING, changes.put_pending
    yield _PUT_ENDED, ENDED, changes.put_ended
    yield _PUT_ADJUSTMENTS, ADJUSTMENTS, changes.put_adjustments
    yield _PUT_COUNTERS, COUNTERS, changes.put_counters
    yield _ADD_TO_TOTALS, TOTALS, changes.totals
    yield _PUT_STEPS, JOURNAL, changes.put_steps
    yield _PUT_VOIDED, VOIDED, changes.put_voided


def _moves(changes: Writes, of: bytes) -> Iterator[Statement]:
    """What becomes of the older steps of the journal."""
    if changes.void:
        yield Statement(_VOID, [of, numbers(changes.void)])
    if changes.drop_voided:
        yield Statement(_DROP_VOIDED, [of, number(changes.drop_voided)])
    if changes.trim is not None:
        yield Statement(_TRIM, [of, number(changes.trim)])


def forgets(*, ledger: int, now_ms: int) -> list[Statement]:
    """Drop some rows whose time has come; each says how many. Needs no lock of the ledger."""
    return [Statement(forget, [number(ledger), number(now_ms)]) for forget in _FORGETS]


def _notices(accounts: Sequence[str]) -> Iterator[str]:
    notice = ""
    for account in accounts:
        if notice and len(notice) + len(account) >= _MOST_NOTICE_CHARACTERS:
            yield notice
            notice = ""
        notice = f"{notice} {account}" if notice else account
    if notice:
        yield notice


def _time(now_ms: int | None) -> Parameter:
    return None if now_ms is None else number(now_ms)


def _nothing(_loaded: Loaded, _rows: Rows) -> None:
    """Nothing is found by it."""


def _take_head(loaded: Loaded, rows: Rows) -> None:
    loaded.head = Head(*rows[0]) if rows else None


def _take_pending(loaded: Loaded, rows: Rows) -> None:
    loaded.pending = [*loaded.pending, *rows]


def _take_ended(loaded: Loaded, rows: Rows) -> None:
    loaded.ended = rows


def _take_adjustments(loaded: Loaded, rows: Rows) -> None:
    loaded.adjustments = rows


def _take_counters(loaded: Loaded, rows: Rows) -> None:
    loaded.counters = rows


def _take_due(loaded: Loaded, rows: Rows) -> None:
    loaded.due = rows
