"""What pages show of accounts, refusals and changes: rows of operations, as many as a page has room for."""

from dataclasses import dataclass
from typing import Final

from budget_middleware.admin.pages.bars import ShownCounter, shown_counter
from budget_middleware.admin.pages.plots import Plot, plot_of
from budget_middleware.operations.account_explanation import (
    AccountExplanation,
    ExplainedCounter,
    explanation_of,
)
from budget_middleware.operations.account_facts import read_account
from budget_middleware.operations.account_sentences import counter_sentences, refusals_sentence
from budget_middleware.operations.burn_down import BurnDown, burn_downs
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.journal import latest_entries
from budget_middleware.operations.reaching_back import latest_entries_of_both
from budget_middleware.operations.refusal_remedies import Remedies, remedies_for
from budget_middleware.operations.refusals import list_refusals
from budget_middleware.operations.rows import LinkedEntryRow, RefusalRow

ALERTS_MAX: Final = 200
HOLDS_MAX: Final = 200
REFUSALS_MAX: Final = 100
ENTRIES_MAX: Final = 25
CHANGES_MAX: Final = 12
_EACH_KIND_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class ShownRefusal:
    """A refusal, and what would have let it pass."""

    row: RefusalRow
    remedies: Remedies


async def shown_refusals(context: OperatorContext, account: str | None = None) -> list[ShownRefusal]:
    """The last of them, the newest first."""
    rows = await list_refusals(context, account, trace_url=context.settings.trace_url or None)
    return [ShownRefusal(row, remedies_for(row)) for row in reversed(rows[-REFUSALS_MAX:])]


async def latest_changes(context: OperatorContext) -> tuple[LinkedEntryRow, ...]:
    """The last entries of the journal, the newest first."""
    page = await latest_entries(context, count=CHANGES_MAX, trace_url=context.settings.trace_url or None)
    return tuple(reversed(page.entries))


@dataclass(frozen=True, slots=True)
class CounterStory:
    """A counter of an account: its bar, how its figures came about, and what was left of its limit over time."""

    counter: ShownCounter
    standing: str
    happened: tuple[str, ...]
    burn_down: BurnDown | None
    plot: Plot | None


@dataclass(frozen=True, slots=True)
class AccountStory:
    """All that a page shows of an account; entries, the newest first."""

    explanation: AccountExplanation
    n_holds: int
    counters: tuple[CounterStory, ...]
    refused: tuple[str, ...]
    refusals: tuple[ShownRefusal, ...]
    entries: tuple[LinkedEntryRow, ...]


async def account_story(context: OperatorContext, account: str) -> AccountStory | None:
    """None where nothing is known of the account."""
    template = context.settings.trace_url or None
    facts = await read_account(context, account, include_past=False)
    explanation = explanation_of(facts, at_most=_EACH_KIND_MAX, trace_url=template)
    if explanation is None:
        return None
    burned = {
        (row.period, row.window, row.unit): each for row, each in burn_downs(facts, context.settings.timezone).items()
    }
    page = await latest_entries_of_both(context, account, count=ENTRIES_MAX, trace_url=template)
    return AccountStory(
        explanation,
        len(facts.holds),
        tuple(
            _story(context, each, burned.get((each.period, each.window, each.unit)), facts.now_ms)
            for each in explanation.counters
        ),
        refused=tuple(map(refusals_sentence, explanation.refusal_sums)),
        refusals=tuple(ShownRefusal(row, remedies_for(row)) for row in explanation.refusals),
        entries=tuple(reversed(page.entries)),
    )


def _story(
    context: OperatorContext, counter: ExplainedCounter, burn_down: BurnDown | None, now_ms: int
) -> CounterStory:
    standing, *happened = counter_sentences(counter)
    return CounterStory(
        shown_counter(counter, now_ms=now_ms, timezone=context.settings.timezone),
        standing,
        tuple(happened),
        burn_down,
        plot_of(burn_down) if burn_down else None,
    )
