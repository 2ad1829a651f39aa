"""Reads and writes of a batch, as statements of SQLite: each reads or writes all rows of a table at once.

The number of the ledger stands in the text, so that every text is prepared once for a connection.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from budget_middleware.core.model import SERIES, Counter
from budget_middleware.stores.sql.batch_data import Head, Loaded, Row, Wanted, Writes

_UNREAD = -1
_RESERVED_AT = "left join budget_journal j on j.ledger = p.ledger and j.last_seq = p.reserve_seq"
_PENDING = (
    "p.id, p.targets, p.asked, p.held, p.charge, p.created_ms, p.deadline_ms, p.trace, p.reserve_seq,"
    " j.entries, j.figures"
)


class _Statements(NamedTuple):
    """The texts of all statements; ``{L}`` stands for the number of the ledger."""

    head: str
    pending: str
    ended: str
    adjustments: str
    counters: str
    due: str
    due_on: str
    pending_on: str
    put_ledger: str
    clear_voided: str
    put_pending: str
    drop_pending: str
    put_ended: str
    put_adjustments: str
    put_counters: str
    drop_counters: str
    totals: str
    put_steps: str
    put_voided: str
    copy_voided: str
    drop_step: str
    drop_voided: str
    trim: str
    forget_ended: str
    forget_adjustments: str
    forget_counters: str


def _put(table: str, columns: int) -> str:
    return f"insert or replace into {table} values ({{L}}{', ?' * columns})"


def _forget(table: str) -> str:
    over = f"select id from {table} where ledger = {{L}} and forget_ms <= ? limit ?"
    return f"delete from {table} where ledger = {{L}} and id in ({over})"


_KEYS = "from json_each(?) k cross join"
_DUE = f"select {_PENDING} from budget_pending p {_RESERVED_AT} where p.ledger = {{L}} and p.deadline_ms <= ?"
_ON_LINE = "instr(char(10) || p.targets, char(10) || ?)"
_OLDEST = "order by p.deadline_ms, p.id limit ?"
_HELD = (
    "select 1 from budget_pending p where p.ledger = {L} and instr(char(10) || p.targets, char(10) || c.name || ' ')"
)
_OVER = (
    f"select name from budget_counters c where ledger = {{L}} and keep_until_ms <= ? and not exists ({_HELD}) limit ?"
)
_OLDEST_VOIDED = "select last_seq from budget_voided where ledger = {L} order by last_seq limit ?"
_FIRST_KEPT = "select last_seq from budget_journal where ledger = {L} and entries > ? order by last_seq limit 1"

_TEXTS = _Statements(
    head="select generation, limits_version, seq, bookings, entries, forget_voided_ms, voided_steps"
    " from budget_ledgers where id = {L}",
    pending=f"select {_PENDING} {_KEYS} budget_pending p on p.ledger = {{L}} and p.id = k.value {_RESERVED_AT}",
    ended="select e.id, state, targets, asked, charge, actual, created_ms, forget_ms"
    f" {_KEYS} budget_ended e on e.ledger = {{L}} and e.id = k.value where e.forget_ms > ?",
    adjustments="select a.id, targets, amount, n_sources, as_of, forget_ms"
    f" {_KEYS} budget_adjustments a on a.ledger = {{L}} and a.id = k.value where a.forget_ms > ?",
    counters="select name, spent, reserved, adjusted, repaired_at_seq, keep_until_ms"
    f" {_KEYS} budget_counters c on c.ledger = {{L}} and c.name = k.value",
    due=f"{_DUE} {_OLDEST}",
    due_on=f"{_DUE} and {_ON_LINE} {_OLDEST}",
    pending_on=f"select {_PENDING} from budget_pending p {_RESERVED_AT} where p.ledger = {{L}} and {_ON_LINE}",
    put_ledger="update budget_ledgers set generation = ?, limits_version = ?, seq = ?, bookings = ?, entries = ?,"
    " forget_voided_ms = ?, voided_steps = ? where id = {L}",
    clear_voided="delete from budget_voided where ledger = {L}",
    put_pending=_put("budget_pending", 9),
    drop_pending="delete from budget_pending where ledger = {L} and id = ?",
    put_ended=_put("budget_ended", 8),
    put_adjustments=_put("budget_adjustments", 6),
    put_counters=_put("budget_counters", 6),
    drop_counters="delete from budget_counters where ledger = {L} and name = ?",
    totals="insert into budget_totals values ({L}, ?, ?, ?)"
    " on conflict do update set reserved = reserved + excluded.reserved",
    put_steps=_put("budget_journal", 13),
    put_voided=_put("budget_voided", 13),
    copy_voided="insert or replace into budget_voided select * from budget_journal where ledger = {L} and last_seq = ?",
    drop_step="delete from budget_journal where ledger = {L} and last_seq = ?",
    drop_voided=f"delete from budget_voided where ledger = {{L}} and last_seq in ({_OLDEST_VOIDED})",
    trim=f"delete from budget_journal where ledger = {{L}} and last_seq < ifnull(({_FIRST_KEPT}), {2**62})",
    forget_ended=_forget("budget_ended"),
    forget_adjustments=_forget("budget_adjustments"),
    forget_counters=f"delete from budget_counters where ledger = {{L}} and name in ({_OVER})",
)


@lru_cache(64)
def _statements(ledger: int) -> _Statements:
    return _Statements(*[text.replace("{L}", str(ledger)) for text in _TEXTS])


class SqliteBatch:
    """The rows of one ledger in the running transaction of a connection."""

    def __init__(self, connection: sqlite3.Connection, ledger: int, clock_ms: Callable[[], int]) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._texts = _statements(ledger)
        self._clock_ms = clock_ms
        self.now_ms = _UNREAD

    def read(self, wanted: Wanted) -> Loaded:
        """What is there of what is wanted; with the head when it is first asked."""
        loaded, texts = Loaded(), self._texts
        if self.now_ms == _UNREAD:
            self.now_ms = self._clock_ms()
            loaded.head = Head(self.now_ms, *self._execute(texts.head).fetchone())
        now_ms = self.now_ms
        if wanted.reservations:
            ids = json.dumps([*wanted.reservations])
            loaded.pending = self._execute(texts.pending, (ids,)).fetchall()
            # Most are pending, or nowhere yet; and an id is in one table only.
            loaded.ended = self._execute(texts.ended, (ids, now_ms)).fetchall()
        if wanted.adjustments:
            ids = json.dumps([*wanted.adjustments])
            loaded.adjustments = self._execute(texts.adjustments, (ids, now_ms)).fetchall()
        if wanted.counters:
            names = json.dumps([counter.name for counter in wanted.counters])
            loaded.counters = self._execute(texts.counters, (names,)).fetchall()
        if wanted.due:
            loaded.due = self._execute(texts.due, (now_ms, wanted.due)).fetchall()
        for series, at_most in wanted.due_on.items():
            on_line = line_beginning(series)
            loaded.due_on[series] = self._execute(texts.due_on, (now_ms, on_line, at_most)).fetchall()
        for counter in wanted.pending_on:
            loaded.pending = [*loaded.pending, *self._execute(texts.pending_on, (line_beginning(counter),))]
        return loaded

    def write(self, writes: Writes) -> None:
        """Write all of it; the caller commits."""
        texts = self._texts
        if writes.ledger is not None:
            self._execute(texts.put_ledger, writes.ledger)
        if writes.clear_voided:
            self._execute(texts.clear_voided)
        self._many(texts.put_pending, writes.put_pending)
        self._many(texts.drop_pending, _alone(writes.drop_pending))
        self._many(texts.put_ended, writes.put_ended)
        self._many(texts.put_adjustments, writes.put_adjustments)
        self._many(texts.put_counters, writes.put_counters)
        self._many(texts.drop_counters, _alone(writes.drop_counters))
        self._many(texts.totals, writes.totals)
        self._many(texts.put_steps, writes.put_steps)
        self._many(texts.put_voided, writes.put_voided)
        self._many(texts.copy_voided, _alone(writes.void))
        self._many(texts.drop_step, _alone(writes.void))
        if writes.drop_voided:
            self._execute(texts.drop_voided, (writes.drop_voided,))
        if writes.trim is not None:
            self._execute(texts.trim, (writes.trim,))

    def forget(self, *, at_most: int) -> bool:
        """Drop some rows of each table whose time has come; whether more may be left. None of them is found anyway."""
        texts, bound = self._texts, (self.now_ms, at_most)
        dropped = [
            self._execute(text, bound).rowcount
            for text in (texts.forget_ended, texts.forget_adjustments, texts.forget_counters)
        ]
        return max(dropped) == at_most

    def _many(self, text: str, rows: Sequence[Row]) -> None:
        if rows:
            self._executemany(text, rows)


def _alone(keys: Iterable[str | int]) -> list[Row]:
    return [(key,) for key in keys]


def line_beginning(series: Counter) -> str:
    """What the line of each target on it begins with in packed targets: of a counter, or of all of a series."""
    account, period, window, _ = series
    # Of a series in other units too: those are looked at, and passed over.
    return f"{account}|{period}|" if window == SERIES else f"{series.name} "
