"""The table below an account's explanation: holds, the oldest first, then the biggest of each other kind."""

from collections.abc import Iterable

from budget_middleware.cli.output import Row
from budget_middleware.cli.wording import trace_column
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit, figure_text
from budget_middleware.operations.account_explanation import AccountChange, AccountExplanation
from budget_middleware.operations.rows import RefusalRow
from budget_middleware.operations.values import Figure
from budget_middleware.operations.wording import why_refused


def table_rows(explanation: AccountExplanation) -> list[Row]:
    return [
        *_hold_rows(explanation),
        *(_refusal_row(row, explanation.account) for row in explanation.refusals),
        *map(_change_row, explanation.changes),
    ]


def _hold_rows(explanation: AccountExplanation) -> Iterable[Row]:
    for hold in explanation.holds:
        yield {
            "what": "held",
            **_amounts(hold.amount),
            "time": hold.time,
            "window": hold.windows,
            "other_accounts": hold.other_accounts or None,
            "reservation_id": hold.id,
            "why": f"for {hold.age_s:.1f} s, its lease ends in {hold.expires_in_s:.1f} s",
            **trace_column(hold.trace_id, hold.trace_url),
        }


def _refusal_row(row: RefusalRow, account: str) -> Row:
    return {
        "what": f"refused: {row.reason}" if row.times == 1 else f"refused: {row.reason} x {row.times}",
        **_amount(row.estimate),
        "time": row.time,
        "window": row.window,
        "other_accounts": [each for each in dict.fromkeys(row.accounts) if each != account] or None,
        "reservation_id": row.reservation_id,
        "why": why_refused(row),
        **trace_column(row.trace_id, row.trace_url),
    }


def _change_row(change: AccountChange) -> Row:
    is_given_back = change.status is Status.EXPIRED and change.spent_delta.is_nothing
    return {
        "what": change.status,
        **_amount(change.reserved_delta if is_given_back else change.spent_delta),
        "time": change.time,
        "window": change.windows,
        "other_accounts": change.other_accounts or None,
        "reservation_id": change.reservation_id,
        "why": change.reason,
        **trace_column(change.trace_id, change.trace_url),
    }


def _amount(amount: Figure) -> Row:
    """In a column of its unit; that of money stands first in every row."""
    return {str(Unit.USD): None} | {str(amount.unit): amount}


def _amounts(amounts: Amounts) -> Row:
    of_units = zip(Unit, amounts, strict=True)
    return {str(unit): figure_text(amount, unit) for unit, amount in of_units if amount or unit is Unit.USD}
