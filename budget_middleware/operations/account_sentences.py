"""Tells in sentences how an account's counters came to their figures: requests, holds, bookings, refusals."""

from collections.abc import Callable, Iterator, Mapping

from budget_middleware.core.periods import Period, Total, is_rolling
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Unit
from budget_middleware.operations.account_explanation import ExplainedCounter, RefusalSum, ShareRow
from budget_middleware.operations.values import Figure, format_amount
from budget_middleware.operations.wording import counted, counter_words


def counter_sentences(counter: ExplainedCounter) -> Iterator[str]:
    """How a counter stands, then each thing that happened to it."""
    yield _standing(counter)
    if came_before := _came_before(counter):
        yield f"{came_before}"
    for status in Status:
        if status in counter.changes:
            whom = _WHOM[status](counter) if status in _WHOM else ""
            yield f"{_SAYS[status](counter.changes[status])}{whom}."
    if counter.oldest_hold_age_s is not None:
        yield (
            f"{counted(counter.holds, 'reservation')} of {format_amount(counter.held)} pending,"
            f" the oldest since {counter.oldest_hold} ({counter.oldest_hold_age_s:.1f} s)."
        )
    if not counter.unexplained.is_nothing:
        unexplained = format_amount(counter.unexplained)
        yield f"NOTHING EXPLAINS {unexplained} of what is spent: run `budget-middleware audit`."


def _standing(counter: ExplainedCounter) -> str:
    limit = "no limit"
    if counter.limit is not None and counter.available is not None:
        by = f" by {counter.limit_pattern}" if isinstance(counter.limit_pattern, str) else ""
        limit = f"limit {format_amount(counter.limit)}{by}, available {format_amount(counter.available)}"
    for mode, figure in (("soft", counter.soft), ("shadow", counter.shadow)):
        limit += f", {mode} limit {format_amount(figure)}" if isinstance(figure, Figure) else ""
    if isinstance(counter.terms, str):
        limit += f" ({counter.terms})"
    until = f", {_resets(counter.period)} at {counter.resets_at}" if counter.resets_at else ""
    used = f"spent {format_amount(counter.spent)}, reserved {format_amount(counter.reserved)}"
    return f"{counter_words(counter)}: {used}, {limit}{until}"


def _resets(period: Period) -> str:
    """What happens at the end of its window; that of a rolling period is a bucket, after which the oldest falls out."""
    if isinstance(period.rule, Total):
        return "lapses"
    return "moves on" if is_rolling(period) else "resets"


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
        f" {_were(before.spent)} spent and {format_amount(before.reserved)} reserved."
    )


def _were(amount: Figure) -> str:
    """`$0.25 was`, `700 tokens were`: the beginning of what happened to an amount."""
    is_one = amount.unit is Unit.USD or amount in ("1", "-1")
    return f"{format_amount(amount)} {'was' if is_one else 'were'}"


def _reserved(share: ShareRow) -> str:
    return f"{counted(share.count, 'request')} came in and reserved {format_amount(share.reserved)}"


def _expired(share: ShareRow) -> str:
    given_back = f"{counted(share.count, 'lease')} expired: {_were(share.reserved.negated)} given back"
    return f"{given_back}, {format_amount(share.spent)} charged"


def _finalized(share: ShareRow) -> str:
    done = f"{share.count} finalized: {_were(share.spent)} booked"
    return done if share.unit is not Unit.INFLIGHT else f"{share.count} finalized and gave {_their(share)} back"


def _their(share: ShareRow) -> str:
    return "its place" if share.count == 1 else "their places"


_SAYS: Mapping[Status, Callable[[ShareRow], str]] = {
    Status.RESERVED: _reserved,
    Status.GROWN: lambda share: (
        f"{counted(share.count, 'hold')} grew with the answer: {format_amount(share.reserved)} more was held"
    ),
    Status.FINALIZED: _finalized,
    Status.FINALIZED_LATE: lambda share: (
        f"{share.count} finalized after the lease had expired: {_were(share.spent)} booked late"
    ),
    Status.FINALIZED_UNRESERVED: lambda share: (
        f"{share.count} finalized without a reservation in the store: {_were(share.spent)} booked"
    ),
    Status.RELEASED: lambda share: (
        f"{share.count} released: {_were(share.reserved.negated)} given back, nothing booked"
    ),
    Status.RELEASED_LATE: lambda share: (
        f"{share.count} released after the lease had expired: {format_amount(share.spent)} of its charge"
    ),
    Status.EXPIRED: _expired,
    Status.ADJUSTED: lambda share: counted(share.count, "adjustment"),
    Status.TRANSFERRED: lambda share: counted(share.count, "transfer"),
    Status.REPAIRED: lambda share: (
        f"{counted(share.count, 'repair')} of {format_amount(share.spent)} spent"
        f" and {format_amount(share.reserved)} reserved"
    ),
}


def _by_whom(counter: ExplainedCounter) -> str:
    return f": {', '.join(f'{format_amount(amount)} {who}' for who, amount in counter.adjusted_by)}"


def _with_whom(counter: ExplainedCounter) -> str:
    """What an account gave counts as spent; what it got is below 0."""
    moved = (
        f"{format_amount(amount.negated)} from {who}" if amount.startswith("-") else f"{format_amount(amount)} to {who}"
        for who, amount in counter.transferred_with
    )
    return f": {', '.join(moved)}"


_WHOM: Mapping[Status, Callable[[ExplainedCounter], str]] = {
    Status.ADJUSTED: _by_whom,
    Status.TRANSFERRED: _with_whom,
}


def refusals_sentence(refusals: RefusalSum) -> str:
    what = "refused" if refusals.is_enforced else "served that shadow mode did not refuse"
    them = "it" if refusals.times == 1 else "them"
    why = "was held by other requests" if refusals.is_held else f"could not cover {them}"
    return (
        f"{counted(refusals.times, 'request')} {what}: the budget of"
        f" {counter_words(refusals)} {why}; the last at {refusals.last_time}."
    )
