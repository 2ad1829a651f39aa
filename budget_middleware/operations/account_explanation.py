"""Explains how an account's counters came to their figures: requests, holds, bookings, expiries, refusals."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from budget_middleware.core.answers import Entry
from budget_middleware.core.journal.story import Change, Share, changes_of
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Counter, Reservation
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import PLACES, Unit
from budget_middleware.core.windows import Period
from budget_middleware.operations.account_facts import AccountFacts, read_account
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.holds import HoldRow, hold_row
from budget_middleware.operations.reasons import who_gave
from budget_middleware.operations.rolling import CountedView
from budget_middleware.operations.rows import CounterRow, EntryRow, RefusalRow, refusal_row
from budget_middleware.operations.values import NOT_IN_JSON, Figure, Omitted, figure, iso, trace_url_of, values_of

# In the order in which a wrong number is usually found.
_KINDS_OF_CHANGES = (
    Status.ADJUSTED,
    Status.TRANSFERRED,
    Status.REPAIRED,
    Status.EXPIRED,
    Status.FINALIZED_LATE,
    Status.RELEASED_LATE,
    Status.FINALIZED_UNRESERVED,
    Status.FINALIZED,
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Both figures of a counter."""

    unit: Unit = field(metadata=NOT_IN_JSON)
    spent: Figure
    reserved: Figure


@dataclass(frozen=True, slots=True)
class ShareRow:
    """What all changes of one status did to a counter together."""

    unit: Unit = field(metadata=NOT_IN_JSON)
    count: int
    spent: Figure
    reserved: Figure


@dataclass(frozen=True, slots=True)
class ExplainedCounter(CounterRow):
    """A counter with its story: ``before`` is what it showed when the journal's oldest entry, ``since``, was written.

    ``unexplained`` is what *spent* shows and no entry accounts for.
    """

    since: str | None
    before: Figures
    changes: Mapping[Status, ShareRow]
    holds: int
    oldest_hold: str | None
    unexplained: Figure
    since_seq: int | None = field(metadata=NOT_IN_JSON)
    held: Figure = field(metadata=NOT_IN_JSON)
    oldest_hold_age_s: float | None = field(metadata=NOT_IN_JSON)
    adjusted_by: tuple[tuple[str, Figure], ...] = field(metadata=NOT_IN_JSON)
    transferred_with: tuple[tuple[str, Figure], ...] = field(metadata=NOT_IN_JSON)


@dataclass(frozen=True, slots=True)
class AccountHold(HoldRow):
    """A hold on the account. ``windows`` are those of the account, ``other_accounts`` pay for the same request."""

    trace_url: str | Omitted | None
    time: str = field(metadata=NOT_IN_JSON)
    windows: tuple[str, ...] = field(metadata=NOT_IN_JSON)
    other_accounts: tuple[str, ...] = field(metadata=NOT_IN_JSON)


@dataclass(frozen=True, slots=True)
class AccountChange(EntryRow):
    """What one verb did to counters of the account, as the entry of the first of them shows."""

    other_accounts: tuple[str, ...]
    trace_url: str | Omitted | None
    windows: tuple[str, ...] = field(metadata=NOT_IN_JSON)


@dataclass(frozen=True, slots=True)
class RefusalSum:
    """All refusals by one counter for one reason."""

    account: str
    period: Period
    window: str
    unit: Unit
    is_enforced: bool
    is_held: bool
    times: int
    last_time: str


@dataclass(frozen=True, slots=True)
class AccountExplanation:
    """Holds, the oldest first; refusals, the largest first; changes, of each kind the largest first."""

    account: str
    counters: tuple[ExplainedCounter, ...]
    holds: tuple[AccountHold, ...]
    refusals: tuple[RefusalRow, ...]
    changes: tuple[AccountChange, ...]
    refusal_sums: tuple[RefusalSum, ...] = field(metadata=NOT_IN_JSON)


async def explain_account(
    context: OperatorContext,
    account: str,
    *,
    include_past: bool = False,
    at_most: int = 10,
    trace_url: str | None = None,
) -> AccountExplanation | None:
    """``at_most`` so many of each kind; None where nothing is known of the account."""
    facts = await read_account(context, account, include_past=include_past)
    return explanation_of(facts, at_most=at_most, trace_url=trace_url)


def explanation_of(facts: AccountFacts, *, at_most: int, trace_url: str | None) -> AccountExplanation | None:
    """The same of an account that has been read."""
    if not (facts.counters or facts.holds or facts.refusals):
        return None
    return AccountExplanation(
        facts.name,
        tuple(_explained(facts, counted, row) for counted, row in facts.counters),
        holds=tuple(_hold(facts, hold, trace_url) for hold in facts.holds[:at_most]),
        refusals=tuple(refusal_row(each, trace_url) for each in _largest(facts.refusals, at_most)),
        changes=tuple(_change(facts, each, trace_url) for each in _weightiest(facts.entries, at_most)),
        refusal_sums=tuple(_refusal_sums(facts.refusals)),
    )


def _explained(facts: AccountFacts, counted: CountedView, row: CounterRow) -> ExplainedCounter:
    story, held, unit = facts.story(counted), facts.held_on(counted), counted.counter.unit
    return ExplainedCounter(
        **values_of(row),
        since=iso(story.since.time_ms) if story.since else None,
        before=Figures(unit, figure(story.before.spent, unit), figure(story.before.reserved, unit)),
        changes={status: _share_row(share, unit) for status, share in story.shares.items()},
        holds=len(held),
        oldest_hold=iso(held[0].created_ms) if held else None,
        unexplained=figure(story.unexplained, unit),
        since_seq=story.since.seq if story.since else None,
        held=figure(sum(hold.held.of(unit) for hold in held), unit),
        oldest_hold_age_s=(facts.now_ms - held[0].created_ms) / 1000 if held else None,
        adjusted_by=tuple(_adjusted_by(facts, counted)),
        transferred_with=tuple(_transferred_with(facts, counted)),
    )


def _share_row(share: Share, unit: Unit) -> ShareRow:
    return ShareRow(unit, share.changes, figure(share.spent, unit), figure(share.reserved, unit))


def _adjusted_by(facts: AccountFacts, counted: CountedView) -> Iterator[tuple[str, Figure]]:
    amounts: dict[str, int] = {}
    for entry in facts.entries_on(counted):
        if entry.status is Status.ADJUSTED:
            who = who_gave(entry.reason)
            amounts[who] = amounts.get(who, 0) + entry.spent_delta
    return ((who, figure(amount, counted.counter.unit)) for who, amount in amounts.items())


def _transferred_with(facts: AccountFacts, counted: CountedView) -> Iterator[tuple[str, Figure]]:
    """To whom it gave how much in all; from whom it got something that is below 0."""
    amounts: dict[tuple[str, bool], int] = {}
    for entry in facts.entries_on(counted):
        if entry.status is Status.TRANSFERRED:
            who = " ".join(facts.others(facts.accounts_of[entry.reservation_id]))
            way = (who, entry.spent_delta < 0)
            amounts[way] = amounts.get(way, 0) + entry.spent_delta
    return ((who, figure(amount, counted.counter.unit)) for (who, _), amount in amounts.items())


def _hold(facts: AccountFacts, hold: Reservation, template: str | None) -> AccountHold:
    row = hold_row(hold, facts.now_ms)
    return AccountHold(
        **values_of(row),
        trace_url=trace_url_of(hold.trace, template),
        time=iso(hold.created_ms),
        windows=tuple(target.window.id for target in hold.targets if target.account == facts.name),
        other_accounts=facts.others(row.accounts),
    )


def _largest(refusals: Iterable[LoggedRefusal], at_most: int) -> list[LoggedRefusal]:
    """Figures of different units do not compare: money comes first."""

    def rank(refusal: LoggedRefusal) -> tuple[int, int, int]:
        return refusal.rejection.target.place, -refusal.rejection.estimate, -refusal.time_ms

    return sorted(refusals, key=rank)[:at_most]


def _weightiest(entries: Iterable[Entry], at_most: int) -> Iterator[Change]:
    # A place in flight is given back by every ending, which its counter's other changes tell better.
    changes = changes_of(entry for entry in entries if entry.counter.unit is not Unit.INFLIGHT)
    for status in _KINDS_OF_CHANGES:
        alike = [change for change in changes if change.entry.status is status]
        yield from sorted(alike, key=lambda change: (PLACES[change.entry.counter.unit], -change.moved))[:at_most]


def _change(facts: AccountFacts, change: Change, template: str | None) -> AccountChange:
    return AccountChange.of(
        change.entry,
        other_accounts=facts.others(facts.accounts_of[change.entry.reservation_id]),
        trace_url=trace_url_of(change.entry.trace, template),
        windows=tuple(counter.window for counter in change.counters),
    )


def _refusal_sums(refusals: Iterable[LoggedRefusal]) -> Iterator[RefusalSum]:
    def by(refusal: LoggedRefusal) -> tuple[bool, bool, Counter]:
        rejection = refusal.rejection
        return not refusal.is_enforced, not rejection.is_held, rejection.target.counter

    for (is_shadow, is_spent, counter), alike in groupby(sorted(refusals, key=by), key=by):
        of_them = list(alike)
        yield RefusalSum(
            counter.account,
            counter.period,
            counter.window,
            counter.unit,
            is_enforced=not is_shadow,
            is_held=not is_spent,
            times=sum(refusal.times for refusal in of_them),
            last_time=iso(of_them[-1].time_ms),
        )
