"""The lines of an account's story: what is held, the oldest first, then of each kind the biggest first."""

from collections.abc import Iterable

from budget_middleware.cli.account_facts import Account
from budget_middleware.cli.evidence import trace_of, why_refused
from budget_middleware.cli.output import Row, iso, usd
from budget_middleware.core.model import Entry, Status
from budget_middleware.core.refusals import LoggedRefusal
from budget_middleware.core.story import Change, changes_of

# In the order in which a wrong number is usually found.
_TOLD = (
    Status.ADJUSTED,
    Status.REPAIRED,
    Status.EXPIRED,
    Status.FINALIZED_LATE,
    Status.RELEASED_LATE,
    Status.FINALIZED_UNRESERVED,
    Status.FINALIZED,
)


def table_rows(account: Account, at_most: int, template: str | None) -> list[Row]:
    """At most so many of each kind."""
    return [
        *_hold_rows(account, at_most, template),
        *_refusal_rows(account, at_most, template),
        *_change_rows(account, at_most, template),
    ]


def _row(what: str, usd_text: str | None, time_ms: int, window: str, *, id_: str, why: str, trace: Row) -> Row:
    return {
        "what": what,
        "usd": usd_text,
        "time": iso(time_ms),
        "window": window,
        "reservation_id": id_,
        "why": why,
        **trace,
    }


def _hold_rows(account: Account, at_most: int, template: str | None) -> Iterable[Row]:
    for hold in account.holds[:at_most]:
        yield _row(
            "held",
            usd(hold.held_nanos),
            hold.created_ms,
            " ".join(target.window.id for target in hold.targets if target.account == account.name),
            id_=hold.id,
            why=f"for {(account.now_ms - hold.created_ms) / 1000:.1f} s,"
            f" its lease ends in {(hold.deadline_ms - account.now_ms) / 1000:.1f} s",
            trace=trace_of(hold.trace, template),
        )


def _refusal_rows(account: Account, at_most: int, template: str | None) -> Iterable[Row]:
    for refusal in biggest(account.refusals, at_most):
        reason = "held" if refusal.rejection.is_held else "spent"
        yield _row(
            f"refused: {reason}" if refusal.times == 1 else f"refused: {reason} x {refusal.times}",
            usd(refusal.rejection.estimate_nanos),
            refusal.time_ms,
            refusal.rejection.target.window.id,
            id_=refusal.reservation_id,
            why=why_refused(refusal),
            trace=trace_of(refusal.trace, template),
        )


def biggest(refusals: Iterable[LoggedRefusal], at_most: int) -> list[LoggedRefusal]:
    return sorted(refusals, key=lambda refusal: (-refusal.rejection.estimate_nanos, -refusal.time_ms))[:at_most]


def _change_rows(account: Account, at_most: int, template: str | None) -> Iterable[Row]:
    for change in weightiest(account.entries, at_most):
        entry = change.entry
        is_given_back = entry.status is Status.EXPIRED and not entry.spent_delta_nanos
        yield _row(
            entry.status,
            usd(entry.reserved_delta_nanos if is_given_back else entry.spent_delta_nanos),
            entry.time_ms,
            " ".join(counter.window for counter in change.counters),
            id_=entry.reservation_id,
            why=entry.reason,
            trace=trace_of(entry.trace, template),
        )


def weightiest(entries: Iterable[Entry], at_most: int) -> Iterable[Change]:
    changes = changes_of(entries)
    for status in _TOLD:
        alike = [change for change in changes if change.entry.status is status]
        yield from sorted(alike, key=lambda change: -change.moved_nanos)[:at_most]
