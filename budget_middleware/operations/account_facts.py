"""Reads all that the store has on an account: its counters, their journal, its holds and refusals."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from budget_middleware.core.answers import CounterView, Entry
from budget_middleware.core.journal.story import CounterStory, counter_story, joined_stories
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Reservation
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counters import read_counters
from budget_middleware.operations.reaching_back import entries_of_account, refusals_of_account
from budget_middleware.operations.rolling import CountedView
from budget_middleware.operations.rows import CounterRow


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """All that is known of an account; entries of the counters that are shown, and who was refused by whichever."""

    name: str
    now_ms: int
    counters: Sequence[tuple[CountedView, CounterRow]]
    entries: Sequence[Entry]
    holds: Sequence[Reservation]
    refusals: Sequence[LoggedRefusal]
    is_journal_whole: bool
    accounts_of: Mapping[str, Iterable[str]]
    """By reservation id the accounts that its journal entries name."""

    def others(self, accounts: Iterable[str]) -> tuple[str, ...]:
        """Who else pays for a request of this account."""
        return tuple(account for account in dict.fromkeys(accounts) if account != self.name)

    def story(self, counted: CountedView) -> CounterStory:
        return joined_stories([self._story_of(part) for part in counted.parts])

    def _story_of(self, view: CounterView) -> CounterStory:
        own = [entry for entry in self.entries if entry.counter == view.counter]
        return counter_story(view.balance.spent, own, is_whole=self.is_journal_whole)

    def entries_on(self, counted: CountedView) -> Iterator[Entry]:
        counters = counted.counters
        return (entry for entry in self.entries if entry.counter in counters)

    def held_on(self, counted: CountedView) -> list[Reservation]:
        counters = counted.counters
        return [hold for hold in self.holds if any(target.counter in counters for target in hold.targets)]


async def read_account(context: OperatorContext, name: str, *, include_past: bool) -> AccountFacts:
    # Counters before the journal: what is written meanwhile has an entry that no figure shows yet.
    counters = await read_counters(context, name, include_past=include_past)
    holds = [hold for hold in await context.store.holds() if any(target.account == name for target in hold.targets)]
    shown = {counter for counted, _ in counters for counter in counted.counters}
    read = await entries_of_account(context, name, shown)
    head = await context.store.head()
    return AccountFacts(
        name,
        head.now_ms,
        counters,
        read.entries,
        holds,
        await _refusals_of(context, name, since_ms=0 if include_past else head.now_ms),
        is_journal_whole=read.is_whole,
        accounts_of=read.accounts_of,
    )


async def _refusals_of(context: OperatorContext, name: str, *, since_ms: int) -> list[LoggedRefusal]:
    """By whichever counter of the account's requests, whose window counts after a time."""
    refusals = await refusals_of_account(context, name)
    return [refusal for refusal in refusals if refusal.rejection.target.counts_until_ms > since_ms]
