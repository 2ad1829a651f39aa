"""What is dropped from the tables of a Postgres store once its time has come, and what is not."""

import pytest

from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.sql.postgres_store import PostgresStore
from budget_middleware.testing import MovableClock
from tests.stores import postgres_rows
from tests.stores.conftest import OpenStore
from tests.stores.verbs import DAY_MS, START_MS, adjust, finalize, release, reserve, target

pytestmark = pytest.mark.parametrize("make_store", ["postgres"], indirect=True)

DAY = target(period=Period.DAY, limit="1.00")


async def counts(store: Store) -> dict[str, int]:
    """How many rows of this ledger its tables have."""
    assert isinstance(store, PostgresStore)
    # It comes behind what is dropped after the answer to a verb.
    await store.check()
    return {table: len(rows) for table, rows in postgres_rows.copy_of(store).items() if rows}


async def test_rows_whose_time_has_come_are_dropped_in_passing(open_store: OpenStore, clock: MovableClock):
    store = open_store()
    await store.reserve(reserve("r1", "0.20", DAY))
    await store.finalize(finalize("r1", "0.10"))
    await store.adjust(adjust("a1", "0.10", DAY))
    await store.reserve(reserve("r2", "0.20", DAY, lease_s=100 * 86_400))
    kept = await counts(store)
    assert (kept["budget_ended"], kept["budget_adjustments"], kept["budget_counters"]) == (1, 1, 1)
    clock.move_to(START_MS + 50 * DAY_MS)
    await store.release(release("unknown"))
    kept = await counts(store)
    # The tombstone of the release that came now; and a counter that something is held on.
    assert (kept["budget_ended"], kept.get("budget_adjustments", 0), kept["budget_counters"]) == (1, 0, 1)
    await store.release(release("r2"))
    clock.move_to(START_MS + 100 * DAY_MS)
    await store.release(release("unknown too"))
    assert "budget_counters" not in await counts(store)
