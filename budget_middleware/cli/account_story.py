"""The story of an account: for each counter what came in, what is held, booked, expired, adjusted and refused."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from budget_middleware.cli.account_facts import Account, read_account
from budget_middleware.cli.account_table import biggest, table_rows, weightiest
from budget_middleware.cli.binding import doubt_about
from budget_middleware.cli.desk import Desk
from budget_middleware.cli.evidence import counted, dollars, refusal_row
from budget_middleware.cli.output import Row, Table, complain, iso, link, say, say_json, usd
from budget_middleware.cli.parsing import who_gave
from budget_middleware.cli.reading import entry_row, hold_row
from budget_middleware.core.model import Counter, CounterView, Status
from budget_middleware.core.refusals import LoggedRefusal
from budget_middleware.core.story import Share


async def tell_account(desk: Desk, name: str, *, past: bool, at_most: int, template: str | None, as_json: bool) -> bool:
    """Whether there is anything to tell."""
    account = await read_account(desk, name, past=past)
    if not (account.counters or account.holds or account.refusals):
        if doubt := doubt_about(name, desk.settings):
            complain(f"warning: {doubt}")
        return False
    if as_json:
        say_json(_document(account, at_most, template))
    else:
        _say(account, at_most, template)
    return True


# Sentences.


def _say(account: Account, at_most: int, template: str | None) -> None:
    for view, row in account.counters:
        for line in _sentences(account, view, row):
            say(line)
    for line in _refused(account.refusals):
        say(line)
    rows = table_rows(account, at_most, template)
    if rows:
        say("")
        Table().say(rows)


def _sentences(account: Account, view: CounterView, row: Row) -> Iterable[str]:
    story, held = account.story(view), account.held_on(view.counter)
    limit = "no limit" if row["limit_usd"] is None else f"limit ${row['limit_usd']}, available ${row['available_usd']}"
    until = f", resets at {row['resets_at']}" if row["resets_at"] else ""
    name, period, window, _ = view.counter
    yield (
        f"{name} {period} {window}: spent {dollars(view.balance.spent)},"
        f" reserved {dollars(view.balance.reserved)}, {limit}{until}".replace("$-", "-$")
    )
    if story.since is None and story.before.spent:
        yield "  The entries about it are older than those that the journal keeps (BUDGET_JOURNAL_MAX)."
    elif story.since is None:
        yield "  No entry of the journal is about it."
    elif story.before.spent or story.before.reserved:
        yield (
            f"  The journal reaches back to {iso(story.since.time_ms)} (seq {story.since.seq}): before that"
            f" {dollars(story.before.spent)} was spent and {dollars(story.before.reserved)} reserved."
        )
    for status in Status:
        if status in story.shares:
            yield f"  {_SAYS[status](story.shares[status])}{_by_whom(account, view.counter, status)}."
    if held:
        oldest = held[0]
        yield (
            f"  {counted(len(held), 'reservation')} of {dollars(sum(hold.held.usd for hold in held))} pending,"
            f" the oldest since {iso(oldest.created_ms)} ({(account.now_ms - oldest.created_ms) / 1000:.1f} s)."
        )
    if story.unexplained:
        yield f"  NOTHING EXPLAINS {dollars(story.unexplained)} of what is spent: run `budget-middleware audit`."


def _reserved(share: Share) -> str:
    return f"{counted(share.changes, 'request')} came in and reserved {dollars(share.reserved)}"


def _expired(share: Share) -> str:
    given_back = f"{counted(share.changes, 'lease')} expired: {dollars(-share.reserved)} was given back"
    return f"{given_back}, {dollars(share.spent)} charged"


_SAYS: Mapping[Status, Callable[[Share], str]] = {
    Status.RESERVED: _reserved,
    Status.FINALIZED: lambda share: f"{share.changes} finalized: {dollars(share.spent)} was booked",
    Status.FINALIZED_LATE: lambda share: (
        f"{share.changes} finalized after the lease had expired: {dollars(share.spent)} was booked late"
    ),
    Status.FINALIZED_UNRESERVED: lambda share: (
        f"{share.changes} finalized without a reservation in the store: {dollars(share.spent)} was booked"
    ),
    Status.RELEASED: lambda share: (
        f"{share.changes} released: {dollars(-share.reserved)} was given back, nothing booked"
    ),
    Status.RELEASED_LATE: lambda share: (
        f"{share.changes} released after the lease had expired: {dollars(share.spent)} of its charge"
    ),
    Status.EXPIRED: _expired,
    Status.ADJUSTED: lambda share: counted(share.changes, "adjustment"),
    Status.REPAIRED: lambda share: (
        f"{counted(share.changes, 'repair')} of {dollars(share.spent)} spent and {dollars(share.reserved)} reserved"
    ),
}


def _by_whom(account: Account, counter: Counter, status: Status) -> str:
    if status is not Status.ADJUSTED:
        return ""
    amounts: dict[str, int] = {}
    for entry in account.entries:
        if entry.counter == counter and entry.status is status:
            who = who_gave(entry.reason)
            amounts[who] = amounts.get(who, 0) + entry.spent_delta
    return f": {', '.join(f'{dollars(nanos)} {who}' for who, nanos in amounts.items())}"


def _refused(refusals: Sequence[LoggedRefusal]) -> Iterable[str]:
    def by(refusal: LoggedRefusal) -> tuple[bool, bool, Counter]:
        rejection = refusal.rejection
        return not refusal.is_enforced, not rejection.is_held, rejection.target.counter

    for (is_shadow, is_spent, counter), alike in groupby(sorted(refusals, key=by), key=by):
        of_them = list(alike)
        times = sum(refusal.times for refusal in of_them)
        what = "served that shadow mode did not refuse" if is_shadow else "refused"
        why = f"could not cover {'it' if times == 1 else 'them'}" if is_spent else "was held by other requests"
        yield (
            f"{counted(times, 'request')} {what}: the budget of {' '.join(counter[:3])} {why};"
            f" the last at {iso(of_them[-1].time_ms)}."
        )


# JSON.


def _document(account: Account, at_most: int, template: str | None) -> Row:
    return {
        "account": account.name,
        "counters": [_counter_document(account, view, row) for view, row in account.counters],
        "holds": [{**hold_row(hold, account.now_ms), **link(hold.trace, template)} for hold in account.holds[:at_most]],
        "refusals": [refusal_row(refusal, template) for refusal in biggest(account.refusals, at_most)],
        "changes": [
            {
                **entry_row(change.entry),
                "other_accounts": account.others(account.accounts_of[change.entry.reservation_id]),
                **link(change.entry.trace, template),
            }
            for change in weightiest(account.entries, at_most)
        ],
    }


def _counter_document(account: Account, view: CounterView, row: Row) -> Row:
    story, held = account.story(view), account.held_on(view.counter)
    return {
        **row,
        "since": iso(story.since.time_ms) if story.since else None,
        "before": {"spent_usd": usd(story.before.spent), "reserved_usd": usd(story.before.reserved)},
        "changes": {
            status: {
                "count": share.changes,
                "spent_usd": usd(share.spent),
                "reserved_usd": usd(share.reserved),
            }
            for status, share in story.shares.items()
        },
        "holds": len(held),
        "oldest_hold": iso(held[0].created_ms) if held else None,
        "unexplained_usd": usd(story.unexplained),
    }
