"""Makes rows of the history's tables from entries and refusals, and entries and refusals from rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Counter, Rejection, Target
from budget_middleware.core.payers.accounts import kind_of
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period, Window

Row = tuple[Any, ...]


class HistoryEntry(NamedTuple):
    """An entry of a journal, and the generation of the store that wrote it."""

    generation: str
    entry: Entry


def entry_row(ledger: str, generation: str, entry: Entry, *, step: int) -> Row:
    """In the order of ENTRY_COLUMNS."""
    counter = entry.counter
    return (
        ledger, generation, entry.seq, step, entry.time_ms, str(entry.op), str(entry.status), entry.reservation_id,
        counter.account, kind_of(counter.account), str(counter.period), counter.window, str(counter.unit),
        entry.spent_delta, entry.reserved_delta, entry.spent, entry.reserved, entry.limit, entry.trace,
        entry.reserve_trace, entry.reason, entry.bookings,
    )  # fmt: skip


ENTRY_READ = (
    "e.generation, e.seq, e.time_ms, e.op, e.status, e.reservation_id, e.account, e.period, e.window_id, e.unit,"
    " e.spent_delta, e.reserved_delta, e.spent, e.reserved, e.limit_amount, e.trace, e.reserve_trace, e.reason,"
    " e.bookings, coalesce(b.bill, '')"
)

WITH_BILLS = " left join bills b on b.ledger = e.ledger and b.generation = e.generation and b.step = e.step"
"""What ENTRY_READ needs beside ``entries e``; last of all joins."""


def entry_of(row: Row) -> HistoryEntry:
    """The entry of a row with ENTRY_READ."""
    (
        generation, seq, time_ms, op, status, id_, account, period, window_id, unit,
        spent_delta, reserved_delta, spent, reserved, limit, trace, reserve_trace, reason, bookings, bill,
    ) = row  # fmt: skip
    counter = Counter(account, Period(period), window_id, Unit(unit))
    entry = Entry(
        seq, time_ms, Op(op), id_, counter, spent_delta, reserved_delta, spent, reserved, limit, Status(status),
        trace, reserve_trace, reason, bookings, bill,
    )  # fmt: skip
    return HistoryEntry(generation, entry)


REFUSAL_READ = (
    "time_ms, reservation_id, accounts, account, period, window_id, unit, limit_amount, spent, reserved, estimate,"
    " model, trace, is_enforced, times, mode"
)


def refusal_row(ledger: str, refusal: LoggedRefusal) -> Row:
    rejection = refusal.rejection
    account, period, window, unit = rejection.target.counter
    return (
        ledger, refusal.time_ms, refusal.reservation_id, " ".join(refusal.accounts),
        account, kind_of(account), str(period), window, str(unit),
        rejection.limit, rejection.balance.spent, rejection.balance.reserved, rejection.estimate,
        refusal.model, refusal.trace, int(refusal.is_enforced), refusal.times, str(refusal.mode),
    )  # fmt: skip


def refusal_of(row: Sequence[Any]) -> LoggedRefusal:
    """The refusal of a row with REFUSAL_READ. When its window began and ends is not kept."""
    (
        time_ms, id_, accounts, account, period, window_id, unit, limit, spent, reserved, estimate,
        model, trace, is_enforced, times, mode,
    ) = row  # fmt: skip
    target = Target(account, Window(Period(period), window_id, 0, 0), limit, Unit(unit))
    return LoggedRefusal(
        time_ms,
        id_,
        tuple(accounts.split()),
        Rejection(target, Balance(spent, reserved), estimate),
        model=model,
        trace=trace,
        is_enforced=bool(is_enforced),
        times=times,
        mode=LimitMode(mode),
    )
