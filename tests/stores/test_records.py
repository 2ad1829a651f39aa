"""What the memory store remembers of each request for an hour, and how little that concerns the garbage collector."""

import gc
from dataclasses import replace

from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from tests.stores.verbs import KEY, finalize, release, reserve

TARGETS = (KEY,)
"""One tuple for all of an account's requests, as a gateway has it."""


async def ended(store: MemoryStore, *, ids: range) -> None:
    for n in ids:
        await store.reserve(replace(reserve(f"finalized {n}", "0.10"), targets=TARGETS))
        await store.finalize(replace(finalize(f"finalized {n}", "0.01"), targets=TARGETS))
        await store.reserve(replace(reserve(f"released {n}", "0.10"), targets=TARGETS))
        await store.release(release(f"released {n}"))


async def test_a_full_garbage_collection_does_not_look_at_reservations_that_have_ended():
    """Only at the journal, which has a bound: here of a few steps."""
    store = MemoryStore(Retention(journal_max=10))
    await ended(store, ids=range(1_000))
    gc.collect()
    before = len(gc.get_objects())
    await ended(store, ids=range(1_000, 2_000))
    gc.collect()
    # Some versions of Python pass over the last of them a collection later.
    gc.collect()
    assert len(gc.get_objects()) - before < 100
