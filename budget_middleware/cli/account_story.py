"""The story of an account in sentences: for each counter what came in, what is held, booked, expired and refused."""

from collections.abc import Callable, Iterator, Mapping

from budget_middleware.cli.account_table import table_rows
from budget_middleware.cli.output import Table, say
from budget_middleware.cli.wording import counted, counter_words
from budget_middleware.core.model import Status
from budget_middleware.operations.account_explanation import (
    AccountExplanation,
    ExplainedCounter,
    RefusalSum,
    ShareRow,
)
from budget_middleware.operations.values import said


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
            f"  {counted(counter.holds, 'reservation')} of {said(counter.held)} pending,"
            f" the oldest since {counter.oldest_hold} ({counter.oldest_hold_age_s:.1f} s)."
        )
    if not counter.unexplained.is_nothing:
        yield f"  NOTHING EXPLAINS {said(counter.unexplained)} of what is spent: run `budget-middleware audit`."


def _standing(counter: ExplainedCounter) -> str:
    limit = "no limit"
    if counter.limit is not None and counter.available is not None:
        limit = f"limit {said(counter.limit)}, available {said(counter.available)}"
    until = f", resets at {counter.resets_at}" if counter.resets_at else ""
    return f"{counter_words(counter)}: spent {said(counter.spent)}, reserved {said(counter.reserved)}, {limit}{until}"


def _came_before(counter: ExplainedCounter) -> str:
    """What is known of the time before the first entry that the journal has of the counter."""
    before = counter.before
    if counter.since is None and not before.spent.is_nothing:
        return "The entries about it are older than those that the journal keeps (BUDGET_JOURNAL_MAX)."
    if counter.since is None:
        return "No entry of the journal is about it."
    if before.spent.is_nothing and before.reserved.is_nothing:
        return ""
    return (
        f"The journal reaches back to {counter.since} (seq {counter.since_seq}): before that"
        f" {said(before.spent)} was spent and {said(before.reserved)} reserved."
    )


def _reserved(share: ShareRow) -> str:
    return f"{counted(share.count, 'request')} came in and reserved {said(share.reserved)}"


def _expired(share: ShareRow) -> str:
    given_back = f"{counted(share.count, 'lease')} expired: {said(share.reserved.negated)} was given back"
    return f"{given_back}, {said(share.spent)} charged"


_SAYS: Mapping[Status, Callable[[ShareRow], str]] = {
    Status.RESERVED: _reserved,
    Status.GROWN: lambda share: (
        f"{counted(share.count, 'hold')} grew with the answer: {said(share.reserved)} more was held"
    ),
    Status.FINALIZED: lambda share: f"{share.count} finalized: {said(share.spent)} was booked",
    Status.FINALIZED_LATE: lambda share: (
        f"{share.count} finalized after the lease had expired: {said(share.spent)} was booked late"
    ),
    Status.FINALIZED_UNRESERVED: lambda share: (
        f"{share.count} finalized without a reservation in the store: {said(share.spent)} was booked"
    ),
    Status.RELEASED: lambda share: (
        f"{share.count} released: {said(share.reserved.negated)} was given back, nothing booked"
    ),
    Status.RELEASED_LATE: lambda share: (
        f"{share.count} released after the lease had expired: {said(share.spent)} of its charge"
    ),
    Status.EXPIRED: _expired,
    Status.ADJUSTED: lambda share: counted(share.count, "adjustment"),
    Status.REPAIRED: lambda share: (
        f"{counted(share.count, 'repair')} of {said(share.spent)} spent and {said(share.reserved)} reserved"
    ),
}


def _by_whom(counter: ExplainedCounter) -> str:
    return f": {', '.join(f'{said(amount)} {who}' for who, amount in counter.adjusted_by)}"


def _refused(refusals: RefusalSum) -> str:
    what = "refused" if refusals.is_enforced else "served that shadow mode did not refuse"
    them = "it" if refusals.times == 1 else "them"
    why = "was held by other requests" if refusals.is_held else f"could not cover {them}"
    return (
        f"{counted(refusals.times, 'request')} {what}: the budget of"
        f" {counter_words(refusals)} {why}; the last at {refusals.last_time}."
    )
