"""The journal: its last entries, its new ones as they come, and those that a story is made of."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from budget_middleware.core.answers import Entry
from budget_middleware.core.bookings import steps_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.rows import LinkedEntryRow, linked_entry_row
from budget_middleware.stores.base import Store

PAGE = 1_000
FOLLOW_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Entries, the oldest first. ``next_seq`` is where `follow_journal` goes on without a gap."""

    entries: tuple[LinkedEntryRow, ...]
    next_seq: int


async def latest_entries(
    context: OperatorContext, account: str | None = None, *, count: int, trace_url: str | None = None
) -> JournalPage:
    """The last ``count`` entries (of one account), linked to their traces by a template if one is given."""
    head = await context.store.head()
    entries = await context.store.latest(count=count, account=account)
    next_seq = max(head.seq, entries[-1].seq) if entries else head.seq
    return JournalPage(_rows(entries, trace_url), next_seq)


async def follow_journal(
    context: OperatorContext, account: str | None = None, *, after_seq: int, trace_url: str | None = None
) -> AsyncGenerator[tuple[LinkedEntryRow, ...], None]:
    """The entries after ``after_seq`` in portions, then new ones as they are written, until it is cancelled."""
    while not _is_cancelled():
        page = await context.store.journal(after_seq=after_seq, count=PAGE)
        if page:
            after_seq = page[-1].seq
            yield _rows([entry for entry in page if account in (None, entry.counter.account)], trace_url)
        else:
            await asyncio.sleep(FOLLOW_EVERY_S)
            # A store that was emptied counts from 1 again.
            after_seq = min(after_seq, (await context.store.head()).seq)
    # Python 3.11 may lose a Ctrl-C that comes just before a time-out of 0, such as redis-py sets.
    raise asyncio.CancelledError


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    return task.cancelling() > 0


def _rows(entries: Sequence[Entry], trace_url: str | None) -> tuple[LinkedEntryRow, ...]:
    return tuple(linked_entry_row(entry, trace_url) for entry in entries)


async def journal_steps(store: Store, *, after_seq: int = 0) -> AsyncGenerator[list[Entry], None]:
    """The entries of each verb, the oldest first, from those after a seq up to the last one now."""
    until_seq = (await store.head()).seq
    step: list[Entry] = []
    while after_seq < until_seq and (page := await store.journal(after_seq=after_seq, count=PAGE)):
        # A page may end within what one verb wrote.
        *whole, step = steps_of([*step, *page])
        for each in whole:
            yield each
        after_seq = page[-1].seq
    if step:
        yield step


async def entries_where(store: Store, is_wanted: Callable[[Entry], bool]) -> list[Entry]:
    """The journal entries that are wanted, the oldest first, as far as the journal reaches back."""
    found: list[Entry] = []
    after_seq, until_seq = 0, (await store.head()).seq
    # What is written meanwhile is not waited for: others may write faster than this reads.
    while after_seq < until_seq and (page := await store.journal(after_seq=after_seq, count=PAGE)):
        found += filter(is_wanted, page)
        after_seq = page[-1].seq
    return found
