"""Entries and refusals from the history and the store together: no entry twice, and no gap hidden.

Of the store that was copied last the history is read up to the last entry that was copied, and the journal from there
on. Of a store that is another one by now the history is read as a whole, and so is the journal. Without a history it is
the journal that is read, as far as it reaches back.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.journal.story import BookingsRead
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Counter
from budget_middleware.core.statuses import Op
from budget_middleware.core.windows import window_named
from budget_middleware.history.ledgers import ledger_of
from budget_middleware.history.past_reading import AccountPast, PastReader
from budget_middleware.history.reading import History
from budget_middleware.history.rows import HistoryEntry
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.history import Copied, copied, from_history
from budget_middleware.operations.journal import JournalPage, in_time, latest_entries, pages_of
from budget_middleware.operations.rows import linked_entry_row
from budget_middleware.operations.values import OMITTED
from budget_middleware.settings import Settings
from budget_middleware.stores.base import Store
from budget_middleware.stores.journals import journals_of


async def latest_entries_of_both(
    context: OperatorContext, account: str | None = None, *, count: int, trace_url: str | None = None
) -> JournalPage:
    """The last ``count`` entries (of one account): where the journal has fewer, the history has those before."""
    page = await latest_entries(context, account, count=count, trace_url=trace_url)
    lacking = count - len(page.entries)
    if lacking <= 0:
        return page
    oldest = {"" if row.shard is OMITTED else row.shard: row.seq for row in reversed(page.entries)}
    generations = await _generations(await journals_of(context.store))
    older = await from_history(context, lambda history: _before(history, context.settings, generations, account, count))
    found = [entry for is_lost, entry in older or () if is_lost or entry.seq < oldest.get(entry.shard, entry.seq + 1)]
    rows = [linked_entry_row(entry, trace_url) for entry in in_time(found)[-lacking:]]
    return replace(page, entries=(*rows, *page.entries), n_from_history=len(rows))


def _before(
    history: History, settings: Settings, generations: Mapping[str, str], account: str | None, count: int
) -> list[tuple[bool, Entry]]:
    """The last entries of each journal, the oldest first, and whether they are of a store that was lost."""
    found: list[tuple[bool, Entry]] = []
    for shard, generation in generations.items():
        ledger = ledger_of(settings.namespace, shard)
        until = copied(history, ledger)
        label = until.label if until and until.store_generation == generation else None
        # As many again may be in the journal too.
        last = list(history.entries(ledger, account=account, newest_first=True, count=2 * count))
        found += [(of != label, entry._replace(shard=shard)) for of, entry in reversed(last)]
    return found


async def _generations(journals: Mapping[str, Store]) -> Mapping[str, str]:
    return {name: (await journal.head()).generation for name, journal in journals.items()}


_PAST_PAGE = 20_000


class _Past(NamedTuple):
    """What the history has, by the names of shards; ``copied`` is how far it goes.

    ``of_lost`` are entries of stores that are gone.
    """

    copied: Mapping[str, Copied]
    entries: Sequence[Entry]
    of_lost: Sequence[Entry]


_Read = Callable[[PastReader], Iterable[HistoryEntry]]


async def entries_of_reservation(context: OperatorContext, id_: str) -> list[Entry]:
    """All entries of a reservation, the oldest first.

    After the loss of a store workers send its last endings again: then that of the new store is told, not both.
    """
    of_lost, entries = await _read(
        context, lambda reader: reader.of_reservation(id_), lambda entry: entry.reservation_id == id_
    )
    if any(entry.op is Op.FINALIZE for entry in entries):
        of_lost = [entry for entry in of_lost if entry.op is not Op.FINALIZE]
    return in_time([*of_lost, *entries])


async def entries_with_reason(context: OperatorContext, reason: str) -> list[Entry]:
    """All entries of adjustments for exactly this reason, the oldest first."""
    of_lost, entries = await _read(
        context, lambda reader: reader.with_reason(reason), lambda entry: entry.reason == reason
    )
    return in_time([*of_lost, *entries])


async def _read(
    context: OperatorContext, read: _Read, is_wanted: Callable[[Entry], bool]
) -> tuple[list[Entry], list[Entry]]:
    """Entries of stores that were lost, and of the store."""
    journals = await journals_of(context.store)
    generations = await _generations(journals)
    past = await from_history(context, lambda history: _past(history, context.settings, generations, read))
    found = list(past.entries) if past else []
    for name, journal in journals.items():
        known = past.copied.get(name) if past else None
        async for page in pages_of(journal, name, after_seq=known.seq if known else 0):
            found += filter(is_wanted, page)
    return list(past.of_lost) if past else [], found


def _past(history: History, settings: Settings, generations: Mapping[str, str], read: _Read) -> _Past:
    known: dict[str, Copied] = {}
    entries: list[Entry] = []
    of_lost: list[Entry] = []
    for shard, generation in generations.items():
        ledger = ledger_of(settings.namespace, shard)
        # First how far it goes: what is copied while it is read comes from the journal.
        until = copied(history, ledger)
        if until and until.store_generation == generation:
            known[shard] = until
        for label, entry in read(PastReader(history, ledger)):
            if shard not in known or label != known[shard].label:
                of_lost.append(entry._replace(shard=shard))
            elif entry.seq <= known[shard].seq:
                entries.append(entry._replace(shard=shard))
    return _Past(known, entries, of_lost)


class AccountRead(NamedTuple):
    """Entries of some of an account's counters, the oldest first, and by reservation id who else they name.

    Whole: nothing can have been booked on the account before the first.
    """

    entries: list[Entry]
    accounts_of: Mapping[str, Iterable[str]]
    is_whole: bool


async def entries_of_account(context: OperatorContext, account: str, counters: Collection[Counter]) -> AccountRead:
    """As far back as no booking is missing: what stands before a gap explains nothing of what is after it.

    Of a store that was lost nothing is read: its counters were others.
    """
    journals = await journals_of(context.store)
    generations = await _generations(journals)
    past = await from_history(
        context, lambda history: _account_past(history, context.settings, generations, account, counters)
    )
    accounts_of: defaultdict[str, dict[str, None]] = defaultdict(dict)
    found: list[Entry] = []
    bookings: dict[str, BookingsRead] = {}
    for name, journal in journals.items():
        known = past.get(name) if past else None
        bookings[name] = (
            BookingsRead(known.bookings, unbroken_from_seq=known.unbroken_from_seq) if known else BookingsRead()
        )
        if known:
            found += [entry._replace(shard=name) for entry in known.entries]
            for id_, other in known.accounts:
                accounts_of[id_][other] = None
        async for page in pages_of(journal, name, after_seq=known.seq if known else 0):
            for entry in page:
                bookings[name].add(entry)
                accounts_of[entry.reservation_id][entry.counter.account] = None
            found += [entry for entry in page if entry.counter in counters]
    entries = [entry for entry in in_time(found) if entry.seq >= bookings[entry.shard].unbroken_from_seq]
    if entries:
        return AccountRead(entries, accounts_of, bookings[entries[0].shard].has_all)
    return AccountRead([], accounts_of, (await context.store.head()).seq == 0)


def _account_past(
    history: History,
    settings: Settings,
    generations: Mapping[str, str],
    account: str,
    counters: Collection[Counter],
) -> Mapping[str, AccountPast]:
    """Of each journal that is still that of the store, by the names of shards."""
    found: dict[str, AccountPast] = {}
    for shard, generation in generations.items():
        ledger = ledger_of(settings.namespace, shard)
        known = copied(history, ledger)
        if known and known.store_generation == generation:
            found[shard] = PastReader(history, ledger).of_account(account, counters, known.label, until_seq=known.seq)
    return found


async def refusals_of_account(context: OperatorContext, account: str) -> list[LoggedRefusal]:
    """All refusals of requests that the account would have paid for, the oldest first."""
    settings = context.settings
    past = await from_history(context, lambda history: list(PastReader(history, settings.namespace).refusals(account)))
    of_store = [each for each in await context.store.refusals() if account in each.accounts]
    # A refusal that came again has grown in the store since it was copied.
    known = {(each.time_ms, each.reservation_id, each.rejection.target.counter): each for each in of_store}
    older = [
        _with_window(each, settings)
        for each in past or ()
        if (each.time_ms, each.reservation_id, each.rejection.target.counter) not in known
    ]
    return sorted([*older, *of_store], key=lambda each: each.time_ms)


def _with_window(refusal: LoggedRefusal, settings: Settings) -> LoggedRefusal:
    """The history keeps the id of a window, and not when it began and ended."""
    target = refusal.rejection.target
    try:
        window = window_named(target.window.period, target.window.id, timezone=settings.timezone)
    except ValueError:
        return refusal  # A window of another BUDGET_TIMEZONE, from before it was changed.
    return replace(refusal, rejection=refusal.rejection._replace(target=replace(target, window=window)))


class PastJournal:
    """The journal of a store as the history has it, page by page."""

    def __init__(self, context: OperatorContext, ledger: str, known: Copied) -> None:
        self._context = context
        self._ledger = ledger
        self._label = known.label
        self.until_seq = known.seq

    async def page(self, after_seq: int) -> Sequence[Entry]:
        """The next entries after a seq, none of them after ``until_seq``."""
        page = await from_history(
            self._context,
            lambda history: history.journal(self._ledger, self._label, after_seq=after_seq, count=_PAST_PAGE),
        )
        return [entry for entry in page or () if entry.seq <= self.until_seq]


async def past_journal(context: OperatorContext, shard: str, journal: Store) -> PastJournal | None:
    """None where the history has nothing of this store."""
    ledger = ledger_of(context.settings.namespace, shard)
    known = await from_history(context, lambda history: copied(history, ledger))
    if known is None or known.store_generation != (await journal.head()).generation:
        return None
    return PastJournal(context, ledger, known)
