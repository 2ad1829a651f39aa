"""The journal: its last entries, its new ones as they come, and those that a story is made of."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass

from budget_middleware.core.answers import Entry
from budget_middleware.core.journal.bookings import steps_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.rows import LinkedEntryRow, linked_entry_row
from budget_middleware.stores.base import Store
from budget_middleware.stores.journals import journals_of

PAGE = 1_000
FOLLOW_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Entries, the oldest first. ``positions`` are where `follow_journal` goes on without a gap, in each journal."""

    entries: tuple[LinkedEntryRow, ...]
    positions: Mapping[str, int]
    n_from_history: int = 0


async def latest_entries(
    context: OperatorContext, account: str | None = None, *, count: int, trace_url: str | None = None
) -> JournalPage:
    """The last ``count`` entries (of one account), linked to their traces by a template if one is given."""
    heads = {name: await journal.head() for name, journal in (await journals_of(context.store)).items()}
    entries = await context.store.latest(count=count, account=account)
    positions = {name: head.seq for name, head in heads.items()}
    for entry in entries:
        positions[entry.shard] = max(positions[entry.shard], entry.seq)
    return JournalPage(_rows(entries, trace_url), positions)


async def follow_journal(
    context: OperatorContext,
    account: str | None = None,
    *,
    positions: Mapping[str, int],
    trace_url: str | None = None,
) -> AsyncGenerator[tuple[LinkedEntryRow, ...], None]:
    """The entries after these positions in portions, then new ones as they are written, until it is cancelled."""
    journals, after = await journals_of(context.store), dict(positions)
    while not _is_cancelled():
        pages = [await _page(journal, name, after_seq=after[name]) for name, journal in journals.items()]
        if found := in_time([entry for page in pages for entry in page]):
            after |= {page[-1].shard: page[-1].seq for page in pages if page}
            yield _rows([entry for entry in found if account in (None, entry.counter.account)], trace_url)
        else:
            await asyncio.sleep(FOLLOW_EVERY_S)
            # A store that was emptied counts from 1 again.
            after = {name: min(after[name], (await journal.head()).seq) for name, journal in journals.items()}
    # Python 3.11 may lose a Ctrl-C that comes just before a time-out of 0, such as redis-py sets.
    raise asyncio.CancelledError


async def _page(journal: Store, name: str, *, after_seq: int) -> Sequence[Entry]:
    """The next entries of a journal; of a shard they say which one it is."""
    page = await journal.journal(after_seq=after_seq, count=PAGE)
    return [entry._replace(shard=name) for entry in page] if name else page


def in_time(entries: Sequence[Entry]) -> list[Entry]:
    """Entries of several journals, by the time at which they were written; those of each keep their order."""
    return sorted(entries, key=lambda entry: entry.time_ms) if any(entry.shard for entry in entries) else [*entries]


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    return task.cancelling() > 0


def _rows(entries: Sequence[Entry], trace_url: str | None) -> tuple[LinkedEntryRow, ...]:
    return tuple(linked_entry_row(entry, trace_url) for entry in entries)


async def steps_in(journal: Store, name: str, *, after_seq: int) -> AsyncGenerator[list[Entry], None]:
    """The entries of each verb in one journal, by the name of its shard: from those after a seq to the last one now."""
    step: list[Entry] = []
    async for page in pages_of(journal, name, after_seq=after_seq):
        # A page may end within what one verb wrote.
        *whole, step = steps_of([*step, *page])
        for each in whole:
            yield each
    if step:
        yield step


async def pages_of(journal: Store, name: str, *, after_seq: int = 0) -> AsyncGenerator[Sequence[Entry], None]:
    """What is written meanwhile is not waited for: others may write faster than this reads."""
    until_seq = (await journal.head()).seq
    while after_seq < until_seq and (page := await _page(journal, name, after_seq=after_seq)):
        after_seq = page[-1].seq
        yield page


async def entries_where(store: Store, is_wanted: Callable[[Entry], bool]) -> list[Entry]:
    """The journal entries that are wanted, the oldest first, as far as the journal reaches back."""
    found: list[Entry] = []
    for name, journal in (await journals_of(store)).items():
        async for page in pages_of(journal, name):
            found += filter(is_wanted, page)
    return in_time(found)


_PAGES_AT_ONCE = 10
"""Of an account with few entries so many pages of the journal are read in vain, before the caller is asked again."""


async def entries_after(
    context: OperatorContext,
    account: str | None = None,
    *,
    positions: Mapping[str, int],
    count: int,
    trace_url: str | None = None,
) -> JournalPage:
    """Up to ``count`` entries (of one account) after these positions, a missing one being the journal's beginning.

    There may be more, and nothing in this page: positions that have moved are where to go on.
    """
    journals, after = await journals_of(context.store), dict(positions)
    found: list[Entry] = []
    for name, journal in journals.items():
        after.setdefault(name, 0)
        for _ in range(_PAGES_AT_ONCE):
            page = await _page(journal, name, after_seq=after[name]) if len(found) < count else ()
            for entry in page:
                if len(found) >= count:
                    break
                after[name] = entry.seq
                if account in (None, entry.counter.account):
                    found.append(entry)
            if not page:
                break
    return JournalPage(_rows(in_time(found), trace_url), {name: after[name] for name in journals})
