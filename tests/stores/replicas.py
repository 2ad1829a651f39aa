"""What a replica has of a store within this process, and a failover to it."""

import copy
from typing import Any

from budget_middleware.stores.memory.store import MemoryStore

_BESIDE_TABLES = ("_limits", "_notes", "_refusals", "_facts", "_texts", "_learnt")


def snapshot_of(store: MemoryStore) -> dict[str, Any]:
    """Everything that the store keeps, as it is now."""
    beside = {name: vars(store)[name] for name in _BESIDE_TABLES}
    return copy.deepcopy({**beside, "tables": vars(store._tables)})


def restore(store: MemoryStore, snapshot: dict[str, Any]) -> None:
    kept = copy.deepcopy(snapshot)
    vars(store._tables).update(kept.pop("tables"))
    vars(store).update(kept)


def empty_in_process(store: MemoryStore) -> None:
    """What a restart without persistence does."""
    restore(store, snapshot_of(type(store)(store._retention, clock_ms=store._clock_ms)))
