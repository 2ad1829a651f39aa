"""A store over rows of SQLite, in memory: it proves that the engine's tables fit a database, and is no product feature.

Each verb is one transaction. Runtime limits, notes and refusals stay in the process, as the memory store keeps them.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from budget_middleware.core.model import Adjustment, Balance, Counter, Reservation
from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.windows import Period
from budget_middleware.stores.engine import Engine
from budget_middleware.stores.memory import MemoryStore
from budget_middleware.stores.records import pack_targets, unpack_targets
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.tables import ByHand, CounterRow, Kind, Meta, Step

_SCHEMA = """
create table meta (generation, limits_version, seq, bookings, entries, forget_voided_ms);
create table reservations
    (id primary key, state, targets, asked, held, charge, actual, created_ms, deadline_ms, trace, forget_ms);
create index due on reservations (deadline_ms, id) where state = 'pending';
create table holds (counter, id, primary key (counter, id)) without rowid;
create table adjustments (id primary key, targets, amount, n_sources, as_of, forget_ms);
create table counters
    (account, period, window, unit, spent, reserved, adjusted, repaired_at_seq, keep_until_ms,
     primary key (account, period, window, unit));
create table totals (unit, kind, reserved, primary key (unit, kind));
create table journal
    (last_seq primary key, bookings, entries, time_ms, op, id, status, targets, figures, trace, reserve_trace, reason,
     bill, is_voided);
create index steps_of on journal (id);
"""
_PENDING = "select r.* from reservations r where state = 'pending'"
_PENDING_ON = "select r.* from holds h join reservations r using (id) where h.counter = :counter"
_IS_COUNTER = "account = ? and period = ? and window = ? and unit = ?"
_NEW_COUNTER = "insert into counters values (?, ?, ?, ?, ?, ?, ?, ?, null) on conflict"


class SqliteTables:
    def __init__(self, rows: sqlite3.Connection) -> None:
        self._rows = rows
        rows.executescript(_SCHEMA)
        self.put_meta(Meta(generation=f"sqlite {id(rows)}"))

    def meta(self) -> Meta:
        return Meta(*self._rows.execute("select * from meta").fetchone())

    def put_meta(self, meta: Meta) -> None:
        self._rows.execute("delete from meta")
        self._rows.execute("insert into meta values (?, ?, ?, ?, ?, ?)", meta)

    def reservation(self, id_: str) -> Reservation | None:
        found = self._rows.execute("select * from reservations where id = ?", (id_,)).fetchone()
        return _reservation(found) if found else None

    def put(self, reservation: Reservation, *, forget_ms: int | None) -> None:
        id_, state, targets, asked, held, charge, actual, *lease = reservation
        amounts = map(_packed, (asked, held, charge, actual))
        row = (id_, str(state), pack_targets(targets), *amounts, *lease, forget_ms)
        self._rows.execute("insert or replace into reservations values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        holds = [(name, id_) for target in targets for name in {target.counter.name, target.series.name}]
        if state is State.PENDING:
            self._rows.executemany("insert or ignore into holds values (?, ?)", holds)
        else:
            self._rows.executemany("delete from holds where counter = ? and id = ?", holds)

    def due(self, now_ms: int, *, at_most: int, on: Counter | None = None) -> Sequence[Reservation]:
        which = f"{self._which(on)} and deadline_ms <= :now_ms order by deadline_ms, id limit :at_most"
        names = {"counter": on and on.name, "now_ms": now_ms, "at_most": at_most}
        return [_reservation(row) for row in self._rows.execute(which, names)]

    def pending(self, on: Counter | None = None) -> Collection[Reservation]:
        found = self._rows.execute(self._which(on), {"counter": on and on.name})
        return [_reservation(row) for row in found]

    def _which(self, on: Counter | None) -> str:
        return _PENDING if on is None else _PENDING_ON

    def adjustment(self, id_: str) -> Adjustment | None:
        which = "select targets, amount, n_sources, as_of from adjustments where id = ?"
        found = self._rows.execute(which, (id_,)).fetchone()
        return Adjustment(id_, unpack_targets(found[0]), _amounts(found[1]), *found[2:]) if found else None

    def put_adjustment(self, adjustment: Adjustment, *, forget_ms: int) -> None:
        id_, targets, amount = adjustment.id, adjustment.targets, adjustment.amount
        row = (id_, pack_targets(targets), _packed(amount), adjustment.n_sources, adjustment.as_of, forget_ms)
        self._rows.execute("insert or replace into adjustments values (?, ?, ?, ?, ?, ?)", row)

    def balances(self, of: Sequence[Counter]) -> Sequence[Balance | None]:
        which = ", ".join(["(?, ?, ?, ?)"] * len(of))
        names = [name for counter in of for name in counter]
        rows = self._rows.execute(
            f"select * from counters where (account, period, window, unit) in (values {which})", names
        )
        found = dict(map(_counter, rows))
        return [found[counter].balance if counter in found else None for counter in of]

    def book(self, balances: Mapping[Counter, Balance]) -> None:
        put = f"{_NEW_COUNTER} do update set spent = excluded.spent, reserved = excluded.reserved"
        self._rows.executemany(put, [(*counter, *balance, 0, 0) for counter, balance in balances.items()])

    def by_hand(self, counter: Counter) -> ByHand:
        which = f"select adjusted, repaired_at_seq from counters where {_IS_COUNTER}"
        return ByHand(*(self._rows.execute(which, counter).fetchone() or ()))

    def put_by_hand(self, counter: Counter, by_hand: ByHand) -> None:
        put = f"{_NEW_COUNTER} do update set adjusted = excluded.adjusted, repaired_at_seq = excluded.repaired_at_seq"
        self._rows.execute(put, (*counter, 0, 0, *by_hand))

    def retain(self, until_ms: Mapping[Counter, int]) -> None:
        put = f"update counters set keep_until_ms = ? where {_IS_COUNTER}"
        self._rows.executemany(put, [(time_ms, *counter) for counter, time_ms in until_ms.items()])

    def drop_counter(self, counter: Counter) -> None:
        self._rows.execute(f"delete from counters where {_IS_COUNTER}", counter)

    def all_counters(self) -> Mapping[Counter, CounterRow]:
        return dict(map(_counter, self._rows.execute("select * from counters")))

    def totals(self) -> Mapping[Kind, int]:
        return {(Unit(unit), kind): reserved for unit, kind, reserved in self._rows.execute("select * from totals")}

    def add_to_totals(self, by_kind: Iterable[tuple[Kind, int]]) -> None:
        add = "insert into totals values (?, ?, ?) on conflict do update set reserved = reserved + excluded.reserved"
        self._rows.executemany(add, [(*kind, reserved) for kind, reserved in by_kind])

    def append(self, step: Step, *, is_voided: bool) -> None:
        *head, targets, figures, trace, reserve_trace, reason, bill = step
        packed = (pack_targets(targets), " ".join(map(str, figures)))
        row = (*head, *packed, trace, reserve_trace, reason, bill, is_voided)
        self._rows.execute(f"insert into journal values (?{', ?' * len(step)})", row)

    def void(self, reservation_id: str) -> int:
        which = "where id = ? and op = 'reserve'"
        found = self._rows.execute(f"select * from journal {which}", (reservation_id,)).fetchone()
        self._rows.execute(f"update journal set is_voided = 1 {which}", (reservation_id,))
        return len(_step(found).targets) if found else 0

    def trim(self, *, entries: int) -> None:
        self._rows.execute("delete from journal where not is_voided and entries <= ?", (entries,))

    def trim_voided(self, *, at_most: int) -> None:
        newest = "select last_seq from journal where is_voided order by last_seq desc limit ?"
        self._rows.execute(f"delete from journal where is_voided and last_seq not in ({newest})", (at_most,))

    def steps(self, *, after_seq: int = 0, newest_first: bool = False) -> Iterator[Step]:
        order = "desc" if newest_first else "asc"
        which = f"select * from journal where last_seq > ? order by last_seq {order}"
        return map(_step, self._rows.execute(which, (after_seq,)))

    def forget(self, now_ms: int) -> None:
        self._rows.execute("delete from reservations where forget_ms <= ?", (now_ms,))
        self._rows.execute("delete from adjustments where forget_ms <= ?", (now_ms,))
        name = "account || '|' || period || '|' || window || iif(unit = 'usd', '', '|' || unit)"
        held_on = f"select 1 from holds where counter = {name}"
        self._rows.execute(f"delete from counters where keep_until_ms <= ? and not exists ({held_on})", (now_ms,))


def _reservation(row: Any) -> Reservation:
    id_, state, targets, asked, held, charge, actual, *lease, _ = row
    amounts = (None if asked is None else _amounts(asked), _amounts(held), _amounts(charge), _amounts(actual))
    return Reservation(id_, State(state), unpack_targets(targets), *amounts, *lease)


def _packed(amounts: Amounts | None) -> str | None:
    return None if amounts is None else " ".join(map(str, amounts))


def _amounts(packed: str) -> Amounts:
    return Amounts(*map(int, packed.split()))


def _counter(row: Any) -> tuple[Counter, CounterRow]:
    account, period, window, unit, spent, reserved, *by_hand, _ = row
    return Counter(account, Period(period), window, Unit(unit)), CounterRow(Balance(spent, reserved), ByHand(*by_hand))


def _step(row: Any) -> Step:
    last_seq, bookings, entries, time_ms, op, id_, status, targets, figures, *texts, _ = row
    numbers = tuple(map(int, figures.split()))
    told = (Op(op), id_, Status(status), unpack_targets(targets), numbers)
    return Step(last_seq, bookings, entries, time_ms, *told, *texts)


class SqliteStore(MemoryStore):
    def __init__(self, retention: Retention | None = None, *, clock_ms: Callable[[], int]) -> None:
        super().__init__(retention, clock_ms=clock_ms)
        # It commits when its block ends, and rolls back what raised.
        self.connection = self._transaction = sqlite3.connect(":memory:", check_same_thread=False)
        self._tables = SqliteTables(self.connection)
        self._engine = Engine(self._tables, self._retention)

    async def aclose(self) -> None:
        self.connection.close()
