"""The task of a worker that copies: who has the lease, what it does where the database is away, what it drops."""

import asyncio
import logging
import sqlite3
from typing import Any

from budget_middleware.history.copying import LEASE_MS
from budget_middleware.history.following import CATCH_UP_S, EVERY_S, HistoryFollower
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.sharded.memory_shard import MemoryShard
from budget_middleware.stores.sharded.shard_map import ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from tests.history.histories import LEDGER, spent_by_counter, spent_in
from tests.history.traffic import Traffic
from tests.stores.verbs import UTC, finalize, target

DAY_MS = 86_400_000


async def follow(follower: HistoryFollower) -> float:
    """Look until there is nothing more to copy."""
    while (pause_s := await follower.look()) == CATCH_UP_S:
        pass
    return pause_s


def follower_of(store, histories, **more) -> HistoryFollower:
    defaults: dict[str, Any] = {"namespace": LEDGER, "timezone": UTC, "journal_max": 100_000, "days": 400}
    return HistoryFollower(store, histories.database, **defaults | more)


async def test_one_worker_copies_and_the_others_ask_now_and_then(clock, histories):
    store = MemoryStore(clock_ms=clock)
    first, second = follower_of(store, histories), follower_of(store, histories)
    await Traffic(clock, seed=1).play(store, 50)
    assert await follow(first) == EVERY_S
    assert await follow(second) == LEASE_MS / 3000
    assert histories.balances() == await spent_in(store)
    await first.stop(timeout_s=1)


async def test_a_shutdown_copies_what_is_left_and_leaves_the_lease(clock, histories):
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=2)
    first, second = follower_of(store, histories), follower_of(store, histories)
    await follow(first)
    await traffic.play(store, 50)
    await first.stop(timeout_s=10)
    assert histories.balances() == await spent_in(store)
    await traffic.play(store, 50)
    assert await follow(second) == EVERY_S
    assert histories.balances() == await spent_in(store)


async def test_who_was_stopped_follows_again(clock, histories):
    """As the same gateway does in a second lifespan."""
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=2)
    follower = follower_of(store, histories)
    for _ in range(2):
        await traffic.play(store, 5)
        async with asyncio.timeout(30):
            assert await follow(follower) == EVERY_S
        assert histories.balances() == await spent_in(store)
        await follower.stop(timeout_s=10)


async def test_a_database_that_is_away_is_waited_for_and_nothing_is_lost(clock, tmp_path, histories, caplog):
    """The journal keeps what was not copied, and a warning comes before it drops any."""
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=3)
    follower = follower_of(store, histories, journal_max=200)
    await traffic.play(store, 20)
    await follow(follower)
    other = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
    # It would wait five seconds for each statement.
    assert follower._copiers is not None
    follower._copiers.database.execute("pragma busy_timeout = 1")
    other.execute("begin immediate")
    await traffic.play(store, 5)
    with caplog.at_level(logging.WARNING):
        pauses = [await follower.look() for _ in range(6)]
        assert [record.message.partition(":")[0] for record in caplog.records] == [
            "the history waits, the journal keeps what it lacks"
        ]
        assert pauses[-1] > pauses[0] > 0
        await traffic.play(store, 60)
        caplog.clear()
        await follower.look()
        assert "entries behind, and the journal keeps 200" in caplog.text
    assert follower.lag.entries > 100
    assert follower.gauges.lag_entries() == follower.lag.entries
    other.execute("rollback")
    other.close()
    await follow(follower)
    assert follower.lag.entries == 0
    assert histories.balances() == await spent_in(store)
    assert histories.reader().gaps(LEDGER) == []
    await follower.stop(timeout_s=1)


async def test_what_is_older_than_its_days_is_dropped_and_the_balances_stay(clock, histories):
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=4)
    await traffic.play(store, 50)
    await follow(follower_of(store, histories, days=2))
    old = histories.entries()[-1]
    clock.advance(s=3 * 86_400)
    await traffic.play(store, 20)
    later = follower_of(store, histories, days=2)
    histories.database().execute("delete from leases")
    await follow(later)
    assert histories.entries()[0].seq == old.seq + 1
    ((n_bills,),) = histories.reader().fetch("select count(*) from bills where step <= ?", (old.seq,))
    assert n_bills == 0
    totals = {counter: spent for counter, spent in (await spent_in(store)).items() if counter.period == "total"}
    assert totals.items() <= histories.balances().items()
    await later.stop(timeout_s=1)


async def test_each_shard_is_copied_as_a_ledger_of_its_own(clock, histories):
    shards: dict[str, MemoryShard] = {}
    store = ShardedStore(ShardMap("team", 4), lambda name: shards.setdefault(name, MemoryShard(clock_ms=clock)))
    teams = [target(f"team:{name}") for name in ("search", "ads", "mail", "docs")]
    for number, team in enumerate(teams):
        await store.finalize(finalize(f"r{number}", "0.10", target("global"), team))
    follower = follower_of(store, histories)
    await follow(follower)
    reader = histories.reader()
    named = {LEDGER if name == "main" else f"{LEDGER}/{name}": shard for name, shard in shards.items()}
    copied = {ledger: spent_by_counter([each.entry for each in reader.entries(ledger)]) for ledger in reader.ledgers()}
    assert copied == {ledger: await spent_in(shard) for ledger, shard in named.items()}
    assert copied[LEDGER] == {target("global").counter: 400_000_000}
    assert len([spent for spent in copied.values() if spent]) > 2
    await follower.stop(timeout_s=1)
