"""What a replica has of a store within this process, and a failover to it."""

import copy
from typing import Any

from budget_middleware.stores.memory import MemoryStore
from tests.stores.sqlite_store import SqliteStore

_BESIDE_TABLES = ("_limits", "_notes", "_refusals")


def snapshot_of(store: MemoryStore) -> dict[str, Any]:
    """Everything that the store keeps, as it is now."""
    beside = {name: vars(store)[name] for name in _BESIDE_TABLES}
    tables = store.connection.serialize() if isinstance(store, SqliteStore) else vars(store._tables)
    return copy.deepcopy({**beside, "tables": tables})


def restore(store: MemoryStore, snapshot: dict[str, Any]) -> None:
    kept = copy.deepcopy(snapshot)
    tables = kept.pop("tables")
    if isinstance(store, SqliteStore):
        store.connection.deserialize(tables)
    else:
        vars(store._tables).update(tables)
    vars(store).update(kept)


def empty_in_process(store: MemoryStore) -> None:
    """What a restart without persistence does."""
    restore(store, snapshot_of(type(store)(store._retention, clock_ms=store._clock_ms)))
