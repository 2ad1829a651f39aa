"""What operators read of a database, at one instant each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from budget_middleware.core.answers import Answer, CounterProof, CounterView, Entry
from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.core.model import Counter, Reservation
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Unit
from budget_middleware.stores.engine import table_reads
from budget_middleware.stores.sql import rows
from budget_middleware.stores.sql.scripts import At, Query, Rows, Script, ask
from budget_middleware.stores.tables import CounterRow, Kind, Step

_PENDING = (
    "select id, targets, asked, held, charge, created_ms, deadline_ms, trace, reserve_seq"
    " from budget_pending where ledger = ?"
)
_ENDED = (
    "select id, state, targets, asked, charge, actual, created_ms, forget_ms"
    " from budget_ended where ledger = ? and id = ? and forget_ms > ?"
)
_COUNTERS = (
    "select name, spent, reserved, adjusted, repaired_at_seq, keep_until_ms from budget_counters where ledger = ?"
)
_TOTALS = "select unit, kind, reserved from budget_totals where ledger = ?"
_ADD_TO_TOTALS = (
    "insert into budget_totals (ledger, unit, kind, reserved) values (?, ?, ?, ?) on conflict (ledger, unit, kind)"
    " do update set reserved = budget_totals.reserved + excluded.reserved"
)
_STEP = (
    "last_seq, bookings, entries, time_ms, op, reservation_id, status, targets, figures, trace, reserve_trace,"
    " reason, bill"
)

_STEPS_AT_ONCE: Final = 1_000


def head(at: At) -> Script[Answer]:
    select = "select generation, seq, limits_version from budget_ledgers where id = ?"
    ((generation, seq, limits_version),) = yield from ask(select, at.ledger)
    return Answer(Status.UNKNOWN, at.now_ms, generation, seq, limits_version)


def counters(at: At, account: str | None) -> Script[Sequence[CounterView]]:
    found, pending = yield [_counters_query(at, account), Query(_PENDING, (at.ledger,))]
    held = [*map(rows.pending_of, pending)]
    return table_reads.counter_views(_living(found, held, at), held, now_ms=at.now_ms)


def proofs(at: At) -> Script[Sequence[CounterProof]]:
    seq = Query("select seq from budget_ledgers where id = ?", (at.ledger,))
    found, pending, ((seen_at_seq,),) = yield [_counters_query(at, None), Query(_PENDING, (at.ledger,)), seq]
    held = [*map(rows.pending_of, pending)]
    return table_reads.counter_proofs(_living(found, held, at), held, seq=seen_at_seq)


def damage(at: At) -> Script[Sequence[Damage]]:
    """What follows from other rows, and does not."""
    return [Damage("totals", Flaw.WRONG_TOTAL)] if (yield from _missing_in_totals(at)) else []


def mend(at: At) -> Script[Sequence[Damage]]:
    missing = yield from _missing_in_totals(at)
    if not missing:
        return []
    yield [Query(_ADD_TO_TOTALS, (at.ledger, unit.value, kind, amount)) for (unit, kind), amount in missing.items()]
    return [Damage("totals", Flaw.WRONG_TOTAL)]


def _missing_in_totals(at: At) -> Script[Mapping[Kind, int]]:
    totals, pending = yield [Query(_TOTALS, (at.ledger,)), Query(_PENDING, (at.ledger,))]
    return table_reads.missing_in_totals(_totals_of(totals), map(rows.pending_of, pending))


def holds(at: At) -> Script[Sequence[Reservation]]:
    pending = yield from ask(_PENDING, at.ledger)
    return table_reads.live_holds(map(rows.pending_of, pending), now_ms=at.now_ms)


def reservation(at: At, id_: str) -> Script[Reservation | None]:
    pending, ended = yield [
        Query(f"{_PENDING} and id = ?", (at.ledger, id_)),
        Query(_ENDED, (at.ledger, id_, at.now_ms)),
    ]
    if pending:
        return rows.pending_of(pending[0])
    return rows.ended_of(ended[0]) if ended else None


def reserved_by_kind(at: At) -> Script[Mapping[Kind, int]]:
    return _totals_of((yield from ask(_TOTALS, at.ledger)))


def journal(at: At, *, after_seq: int, count: int) -> Script[Sequence[Entry]]:
    # Each step has an entry at least.
    (found,) = yield [_steps(at, "last_seq > ?", after_seq, order="asc", count=count)]
    return table_reads.entries_after(map(rows.step_of, found), after_seq, count=count)


def latest(at: At, *, count: int, account: str | None) -> Script[Sequence[Entry]]:
    steps: list[Step] = []
    before, missing = 1 << 62, count
    while missing > 0:
        at_once = min(missing, _STEPS_AT_ONCE) if account is None else _STEPS_AT_ONCE
        (found,) = yield [_steps(at, "last_seq < ?", before, order="desc", count=at_once)]
        steps += map(rows.step_of, found)
        missing = count - len(table_reads.latest_entries(steps, count=count, account=account))
        if len(found) < at_once:
            break
        before = found[-1][0]
    return table_reads.latest_entries(steps, count=count, account=account)


def _steps(at: At, condition: str, seq: int, *, order: str, count: int) -> Query:
    """Of the journal, and of what is voided as long as it is kept; each of both has an order of its own."""
    is_kept = "exists (select 1 from budget_ledgers l where l.id = ledger and l.forget_voided_ms > ?)"
    journal = f"select {_STEP} from budget_journal where ledger = ? and {condition}"
    voided = f"select {_STEP} from budget_voided where ledger = ? and {condition} and {is_kept}"
    text = f"{journal} union all {voided} order by last_seq {order} limit ?"
    return Query(text, (at.ledger, seq, at.ledger, seq, at.now_ms, count))


def _counters_query(at: At, account: str | None) -> Query:
    if account is None:
        return Query(_COUNTERS, (at.ledger,))
    beginning = f"{account}|"
    return Query(f"{_COUNTERS} and substr(name, 1, ?) = ?", (at.ledger, len(beginning), beginning))


def _living(found: Rows, pending: Iterable[Reservation], at: At) -> dict[Counter, CounterRow]:
    """Without those whose time has come, and which nothing is pending on."""
    held = {target.counter for reservation in pending for target in reservation.targets}
    living: dict[Counter, CounterRow] = {}
    for row in found:
        counter, figures = rows.counter_of(row)
        if row[-1] is None or row[-1] > at.now_ms or counter in held:
            living[counter] = figures
    return living


def _totals_of(found: Rows) -> dict[Kind, int]:
    return {(Unit(unit), kind): reserved for unit, kind, reserved in found}
