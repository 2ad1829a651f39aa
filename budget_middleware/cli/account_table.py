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


def _hold_rows(account: Account, at_most: int, template: str | None) -> Iterable[Row]:
    for hold in account.holds[:at_most]:
        yield {
            "what": "held",
            "usd": usd(hold.held.usd),
            "time": iso(hold.created_ms),
            "window": [target.window.id for target in hold.targets if target.account == account.name],
            "other_accounts": account.others(target.account for target in hold.targets) or None,
            "reservation_id": hold.id,
            "why": f"for {(account.now_ms - hold.created_ms) / 1000:.1f} s,"
            f" its lease ends in {(hold.deadline_ms - account.now_ms) / 1000:.1f} s",
            **trace_of(hold.trace, template),
        }


def _refusal_rows(account: Account, at_most: int, template: str | None) -> Iterable[Row]:
    for refusal in biggest(account.refusals, at_most):
        reason = "held" if refusal.rejection.is_held else "spent"
        yield {
            "what": f"refused: {reason}" if refusal.times == 1 else f"refused: {reason} x {refusal.times}",
            "usd": usd(refusal.rejection.estimate),
            "time": iso(refusal.time_ms),
            "window": refusal.rejection.target.window.id,
            "other_accounts": account.others(refusal.accounts) or None,
            "reservation_id": refusal.reservation_id,
            "why": why_refused(refusal),
            **trace_of(refusal.trace, template),
        }


def biggest(refusals: Iterable[LoggedRefusal], at_most: int) -> list[LoggedRefusal]:
    return sorted(refusals, key=lambda refusal: (-refusal.rejection.estimate, -refusal.time_ms))[:at_most]


def _change_rows(account: Account, at_most: int, template: str | None) -> Iterable[Row]:
    for change in weightiest(account.entries, at_most):
        entry = change.entry
        is_given_back = entry.status is Status.EXPIRED and not entry.spent_delta
        yield {
            "what": entry.status,
            "usd": usd(entry.reserved_delta if is_given_back else entry.spent_delta),
            "time": iso(entry.time_ms),
            "window": [counter.window for counter in change.counters],
            "other_accounts": account.others(account.accounts_of[entry.reservation_id]) or None,
            "reservation_id": entry.reservation_id,
            "why": entry.reason,
            **trace_of(entry.trace, template),
        }


def weightiest(entries: Iterable[Entry], at_most: int) -> Iterable[Change]:
    changes = changes_of(entries)
    for status in _TOLD:
        alike = [change for change in changes if change.entry.status is status]
        yield from sorted(alike, key=lambda change: -change.moved)[:at_most]
