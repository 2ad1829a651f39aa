"""Runtime limits over rows. What becomes of them is for ``limit_table`` to say: it is filled with what concerns a call.

The log of changes is trimmed here, since only a database sees all of it.
"""

import logging
from collections.abc import Collection, Iterable, Sequence

from budget_middleware.core.limits.shapes import shape_of
from budget_middleware.stores.records.limit_fields import pack_limit_field, pack_limit_value, unpack_limits
from budget_middleware.stores.records.limit_table import LimitTable
from budget_middleware.stores.runtime_limits import (
    LIMITS_PAGE,
    REPORTED_CHANGES_MAX,
    KnownLimits,
    LimitKey,
    LimitNews,
    LimitsPage,
    LimitValue,
    RuntimeLimits,
    SlotChanges,
    WrittenBack,
)
from budget_middleware.stores.sql.scripts import At, Query, Rows, Script, ask, in_list, padded

_log = logging.getLogger("budget_middleware")

_UNTRIMMED = 1 << 62
_AT_ONCE = 256
_LIMITS = "select pattern, field, value from budget_limits where ledger = ?"
_LOG = "select pattern, field, version, known_at from budget_limit_log where ledger = ?"
_PUT = (
    "insert into budget_limits (ledger, pattern, field, value) values (?, ?, ?, ?)"
    " on conflict (ledger, pattern, field) do update set value = excluded.value"
)
_DROP = "delete from budget_limits where ledger = ? and pattern = ? and field = ?"
_PUT_SHAPE = "insert into budget_limit_shapes (ledger, shape) values (?, ?) on conflict (ledger, shape) do nothing"
_PUT_LOG = (
    "insert into budget_limit_log (ledger, pattern, field, version, known_at) values (?, ?, ?, ?, ?)"
    " on conflict (ledger, pattern, field) do update set version = excluded.version, known_at = excluded.known_at"
)


def change_limits(
    at: At, pattern: str, changes: SlotChanges, *, at_version: int | None, changes_max: int
) -> Script[int | None]:
    _, table = yield from _table_of(at, [pattern])
    if at_version not in (None, table.version):
        return None
    before = table.version
    table.change(pattern, changes, now_ms=at.now_ms)
    yield from _put(at, table, since=before, changes_max=changes_max)
    return table.version


def write_back(at: At, known: KnownLimits, *, token: str, changes_max: int) -> Script[WrittenBack]:
    generation, table = yield from _table_of(at, list(known.limits))
    before, lineage = table.version, table.lineage
    written = table.write_back(known, generation=generation, token=token, now_ms=at.now_ms)
    yield from _put(at, table, since=before, changes_max=changes_max)
    if table.lineage != lineage:
        yield [Query("update budget_ledgers set lineage = ? where id = ?", (table.lineage, at.ledger))]
    return written


def limit_news(at: At, patterns: Sequence[str], *, since_version: int) -> Script[LimitNews]:
    generation, table = yield from _head_of(at)
    shapes, changed = yield [
        Query("select shape from budget_limit_shapes where ledger = ?", (at.ledger,)),
        Query(f"{_LOG} and version > ? limit {REPORTED_CHANGES_MAX + 1}", (at.ledger, since_version)),
    ]
    table.shapes = {shape for (shape,) in shapes}
    _take_log(table, changed)
    asked = {*patterns, *(row[0] for row in changed)} if len(changed) <= REPORTED_CHANGES_MAX else set(patterns)
    for rows in (yield from _of_patterns(at, _LIMITS, asked)):
        _take_limits(table, rows)
    return table.news(patterns, since_version=since_version, generation=generation)


def all_limits(at: At) -> Script[RuntimeLimits]:
    _, table = yield from _head_of(at)
    _take_limits(table, (yield from ask(_LIMITS, at.ledger)))
    return RuntimeLimits(table.version, table.limits)


def limits_page(at: At, cursor: int) -> Script[LimitsPage]:
    rows = yield from ask(f"{_LIMITS} order by pattern, field limit ? offset ?", at.ledger, LIMITS_PAGE, cursor)
    limits, unreadable = unpack_limits({pack_limit_field(pattern, field): value for pattern, field, value in rows})
    return LimitsPage(cursor + LIMITS_PAGE if len(rows) == LIMITS_PAGE else 0, limits, unreadable)


def _head_of(at: At) -> Script[tuple[str, LimitTable]]:
    head = "select generation, limits_version, limits_logged_from, lineage from budget_ledgers where id = ?"
    ((generation, version, log_from, lineage),) = yield from ask(head, at.ledger)
    table = LimitTable(changes_max=_UNTRIMMED)
    table.version, table.log_from, table.lineage = version, log_from, lineage
    return generation, table


def _table_of(at: At, patterns: Sequence[str]) -> Script[tuple[str, LimitTable]]:
    """The generation of the ledger, and what there is of a few patterns."""
    generation, table = yield from _head_of(at)
    for rows in (yield from _of_patterns(at, _LIMITS, patterns)):
        _take_limits(table, rows)
    for rows in (yield from _of_patterns(at, _LOG, patterns)):
        _take_log(table, rows)
    return generation, table


def _of_patterns(at: At, select: str, patterns: Collection[str]) -> Script[Sequence[Rows]]:
    names = sorted(patterns)
    parts = [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]
    if not parts:
        return []
    return (
        yield [Query(f"{select} and pattern in {in_list(len(part))}", (at.ledger, *padded(part))) for part in parts]
    )


def _take_limits(table: LimitTable, rows: Rows) -> None:
    fields = {pack_limit_field(pattern, field): value for pattern, field, value in rows}
    limits, unreadable = unpack_limits(fields)
    table.limits.update(limits)
    for field in unreadable:
        # It affects its own accounts only; doctor and audit report it.
        _log.warning("a runtime limit cannot be read and does not bind: %s", field)


def _take_log(table: LimitTable, rows: Rows) -> None:
    for pattern, field, version, known_at in rows:
        table.log[pattern, field] = version
        if known_at is not None:
            table.known_at[pattern, field] = known_at


def _put(at: At, table: LimitTable, *, since: int, changes_max: int) -> Script[None]:
    """Write what a table has changed after a version."""
    changed = [key for key, version in table.log.items() if version > since]
    if not changed:
        return
    queries = list(_changes(at, table, changed))
    queries.append(Query("update budget_ledgers set limits_version = ? where id = ?", (table.version, at.ledger)))
    yield queries
    ((count,),) = yield from ask("select count(*) from budget_limit_log where ledger = ?", at.ledger)
    if count > changes_max:
        yield from _trim_log(at, count - changes_max)


def _changes(at: At, table: LimitTable, changed: Iterable[LimitKey]) -> Iterable[Query]:
    for key in changed:
        if key in table.limits:
            value: LimitValue = table.limits[key]
            yield Query(_PUT, (at.ledger, *key, pack_limit_value(value)))
            yield Query(_PUT_SHAPE, (at.ledger, shape_of(key[0])))
        else:
            yield Query(_DROP, (at.ledger, *key))
        yield Query(_PUT_LOG, (at.ledger, *key, table.version, table.known_at.get(key)))


def _trim_log(at: At, count: int) -> Script[None]:
    oldest = yield from ask(f"{_LOG} order by version, pattern, field limit ?", at.ledger, count)
    drop = "delete from budget_limit_log where ledger = ? and pattern = ? and field = ?"
    note = "update budget_ledgers set limits_logged_from = ? where id = ?"
    yield [*(Query(drop, (at.ledger, *row[:2])) for row in oldest), Query(note, (oldest[-1][2], at.ledger))]
