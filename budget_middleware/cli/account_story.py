"""The story of an account in sentences: for each counter what came in, what is held, booked, expired and refused."""

from collections.abc import Callable, Iterator, Mapping

from budget_middleware.cli.account_table import table_rows
from budget_middleware.cli.output import Table, say
from budget_middleware.cli.wording import counted
from budget_middleware.core.model import Status
from budget_middleware.operations.account_explanation import (
    AccountExplanation,
    ExplainedCounter,
    RefusalSum,
    ShareRow,
)
from budget_middleware.operations.values import Figure, dollars, figure

_ZERO = figure(0)


def say_account(explanation: AccountExplanation) -> None:
    """Write the sentences, then the table of what they are about."""
    for counter in explanation.counters:
        for line in _sentences(counter):
            say(line)
    for refusals in explanation.refusal_sums:
        say(_refused(refusals))
    if rows := table_rows(explanation):
        say("")
        Table().say(rows)


def _sentences(counter: ExplainedCounter) -> Iterator[str]:
    yield _standing(counter)
    if came_before := _came_before(counter):
        yield f"  {came_before}"
    for status in Status:
        if status in counter.changes:
            whom = _by_whom(counter) if status is Status.ADJUSTED else ""
            yield f"  {_SAYS[status](counter.changes[status])}{whom}."
    if counter.oldest_hold_age_s is not None:
        yield (
            f"  {counted(counter.holds, 'reservation')} of {dollars(counter.held)} pending,"
            f" the oldest since {counter.oldest_hold} ({counter.oldest_hold_age_s:.1f} s)."
        )
    if counter.unexplained != _ZERO:
        yield f"  NOTHING EXPLAINS {dollars(counter.unexplained)} of what is spent: run `budget-middleware audit`."


def _standing(counter: ExplainedCounter) -> str:
    limit = "no limit"
    if counter.limit is not None and counter.available is not None:
        limit = f"limit {dollars(counter.limit)}, available {dollars(counter.available)}"
    until = f", resets at {counter.resets_at}" if counter.resets_at else ""
    return (
        f"{counter.account} {counter.period} {counter.window}: spent {dollars(counter.spent)},"
        f" reserved {dollars(counter.reserved)}, {limit}{until}"
    )


def _came_before(counter: ExplainedCounter) -> str:
    """What is known of the time before the first entry that the journal has of the counter."""
    before = counter.before
    if counter.since is None and before.spent != _ZERO:
        return "The entries about it are older than those that the journal keeps (BUDGET_JOURNAL_MAX)."
    if counter.since is None:
        return "No entry of the journal is about it."
    if (before.spent, before.reserved) == (_ZERO, _ZERO):
        return ""
    return (
        f"The journal reaches back to {counter.since} (seq {counter.since_seq}): before that"
        f" {dollars(before.spent)} was spent and {dollars(before.reserved)} reserved."
    )


def _negated(amount: Figure) -> str:
    """An amount that was given back, as the sentence says it."""
    if amount == _ZERO:
        return dollars(amount)
    return dollars(Figure(amount[1:] if amount.startswith("-") else f"-{amount}"))


def _reserved(share: ShareRow) -> str:
    return f"{counted(share.count, 'request')} came in and reserved {dollars(share.reserved)}"


def _expired(share: ShareRow) -> str:
    given_back = f"{counted(share.count, 'lease')} expired: {_negated(share.reserved)} was given back"
    return f"{given_back}, {dollars(share.spent)} charged"


_SAYS: Mapping[Status, Callable[[ShareRow], str]] = {
    Status.RESERVED: _reserved,
    Status.FINALIZED: lambda share: f"{share.count} finalized: {dollars(share.spent)} was booked",
    Status.FINALIZED_LATE: lambda share: (
        f"{share.count} finalized after the lease had expired: {dollars(share.spent)} was booked late"
    ),
    Status.FINALIZED_UNRESERVED: lambda share: (
        f"{share.count} finalized without a reservation in the store: {dollars(share.spent)} was booked"
    ),
    Status.RELEASED: lambda share: f"{share.count} released: {_negated(share.reserved)} was given back, nothing booked",
    Status.RELEASED_LATE: lambda share: (
        f"{share.count} released after the lease had expired: {dollars(share.spent)} of its charge"
    ),
    Status.EXPIRED: _expired,
    Status.ADJUSTED: lambda share: counted(share.count, "adjustment"),
    Status.REPAIRED: lambda share: (
        f"{counted(share.count, 'repair')} of {dollars(share.spent)} spent and {dollars(share.reserved)} reserved"
    ),
}


def _by_whom(counter: ExplainedCounter) -> str:
    return f": {', '.join(f'{dollars(amount)} {who}' for who, amount in counter.adjusted_by)}"


def _refused(refusals: RefusalSum) -> str:
    what = "refused" if refusals.is_enforced else "served that shadow mode did not refuse"
    them = "it" if refusals.times == 1 else "them"
    why = "was held by other requests" if refusals.is_held else f"could not cover {them}"
    return (
        f"{counted(refusals.times, 'request')} {what}: the budget of"
        f" {refusals.account} {refusals.period} {refusals.window} {why}; the last at {refusals.last_time}."
    )
