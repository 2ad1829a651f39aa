"""The tables of the history, as numbered steps of SQL that SQLite and Postgres both understand.

Each row of a ledger's begins with the name of the ledger, which is its namespace, and with the *generation* of the
store that wrote it. Figures are whole numbers of their unit, nano-dollars of money; times are milliseconds since 1970
on the store's clock. ``docs/history.md`` describes the tables for those who read them; a released step is never
changed.
"""

from typing import Final

from budget_middleware.core.costs.usage import UsageClass
from budget_middleware.databases.migrations import Steps

COMPONENT: Final = "history"

COUNT_COLUMNS: Final = tuple(f"n_{each}" for each in UsageClass)
"""A column of ``bookings`` for each class of a bill: how many of it were counted."""

BOOKING_COLUMNS: Final = (
    "ledger", "generation", "seq", "part", "booked_ms", "time_ms", "kind", "reservation_id", "payers", "model",
    "provider", "requests", "cost_nanos", "omitted_lines", *COUNT_COLUMNS,
)  # fmt: skip

ENTRY_COLUMNS: Final = (
    "ledger", "generation", "seq", "step", "time_ms", "op", "status", "reservation_id", "account", "kind", "period",
    "window_id", "unit", "spent_delta", "reserved_delta", "spent", "reserved", "limit_amount", "trace",
    "reserve_trace", "reason", "bookings",
)  # fmt: skip

_ENTRIES = """
create table entries (
  ledger text not null, generation text not null, seq bigint not null, step bigint not null, time_ms bigint not null,
  op text not null, status text not null, reservation_id text not null,
  account text not null, kind text not null, period text not null, window_id text not null, unit text not null,
  spent_delta bigint not null, reserved_delta bigint not null, spent bigint not null, reserved bigint not null,
  limit_amount bigint, trace text not null, reserve_trace text not null, reason text not null, bookings bigint not null,
  primary key (ledger, generation, seq))
"""

_BILLS = """
create table bills (
  ledger text not null, generation text not null, step bigint not null, bill text not null,
  primary key (ledger, generation, step))
"""

_BALANCES = """
create table balances (
  ledger text not null, generation text not null,
  account text not null, period text not null, window_id text not null, unit text not null,
  spent bigint not null, reserved bigint not null, adjusted bigint not null,
  last_seq bigint not null, last_ms bigint not null,
  primary key (ledger, generation, account, period, window_id, unit))
"""

_PROGRESS = """
create table progress (
  ledger text not null, generation text not null, number bigint not null, store_generation text not null,
  since_seq bigint not null, seq bigint not null, bookings bigint not null, time_ms bigint not null,
  mark_seq bigint not null, mark_ms bigint not null, mark_id text not null,
  head_seq bigint not null, head_ms bigint not null, limits_version bigint not null, copied_ms bigint not null,
  primary key (ledger, generation))
"""

_GAPS = """
create table gaps (
  ledger text not null, generation text not null, after_seq bigint not null, before_seq bigint, bookings bigint,
  found_ms bigint not null, why text not null,
  primary key (ledger, generation, after_seq, why))
"""

_BOOKINGS = f"""
create table bookings (
  ledger text not null, generation text not null, seq bigint not null, part bigint not null,
  booked_ms bigint not null, time_ms bigint not null, kind text not null, reservation_id text not null,
  payers bigint not null, model text not null, provider text not null,
  requests bigint not null, cost_nanos bigint not null, omitted_lines bigint not null,
  {", ".join(f"{name} bigint not null default 0" for name in COUNT_COLUMNS)},
  primary key (ledger, generation, seq, part))
"""

_PAYER_SETS = "create table payer_sets (id bigint primary key, accounts text not null unique)"

_REFUSALS = """
create table refusals (
  ledger text not null, time_ms bigint not null, reservation_id text not null, accounts text not null,
  account text not null, kind text not null, period text not null, window_id text not null, unit text not null,
  limit_amount bigint not null, spent bigint not null, reserved bigint not null, estimate bigint not null,
  model text not null, trace text not null, is_enforced bigint not null, times bigint not null, mode text not null,
  primary key (ledger, time_ms, reservation_id, account, period, window_id, unit, mode))
"""

_LIMIT_CHANGES = """
create table limit_changes (
  ledger text not null, generation text not null, version bigint not null,
  pattern text not null, field text not null, value text, time_ms bigint not null,
  primary key (ledger, generation, version, pattern, field))
"""

_LEASES = "create table leases (ledger text primary key, owner text not null, until_ms bigint not null)"


def steps(*, has_partitions: bool) -> Steps:
    """Of a database that has partitions the table of entries is divided by months."""
    entries = _ENTRIES
    if has_partitions:
        entries = entries.rstrip().replace("(ledger, generation, seq))", "(ledger, generation, seq, time_ms))")
        entries += " partition by range (time_ms)"
    return (
        (
            entries,
            "create index entries_by_reservation on entries (ledger, reservation_id)",
            "create index entries_by_account on entries (ledger, account, time_ms)",
            "create index entries_by_time on entries (ledger, time_ms)",
            _BILLS,
            _BALANCES,
            _PROGRESS,
            _GAPS,
            _BOOKINGS,
            "create index bookings_by_time on bookings (ledger, booked_ms)",
            _PAYER_SETS,
            _REFUSALS,
            _LIMIT_CHANGES,
            _LEASES,
        ),
    )
