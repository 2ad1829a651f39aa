"""The task of a worker that copies: who has the lease, what it does where the database is away, what it drops."""

import asyncio
import logging
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from budget_middleware.databases.urls import SqliteUrl
from budget_middleware.history.connections import SqliteHistory
from budget_middleware.history.copying import LEASE_MS
from budget_middleware.history.following import CATCH_UP_S, EVERY_S, HistoryFollower
from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations import history_state
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.history_state import copy_history
from budget_middleware.settings_loading import load
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


class SlowFile(SqliteHistory):
    """Tells that it was closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(SqliteUrl(path), for_reading=False)
        self.is_closed = threading.Event()

    def close(self) -> None:
        super().close()
        self.is_closed.set()


class SlowOpening:
    """Opens a file once it may."""

    def __init__(self, path: Path) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self.opened: list[SlowFile] = []
        self._path = path

    def __call__(self, _url: str = "") -> SlowFile:
        self.has_begun.set()
        assert self.may_end.wait(30)
        self.opened.append(SlowFile(self._path))
        return self.opened[-1]

    async def begun(self) -> None:
        assert await asyncio.to_thread(self.has_begun.wait, 30)

    async def closed(self) -> int:
        """How many it has opened, once all of them are closed."""
        async with asyncio.timeout(30):
            while not self.opened:
                await asyncio.sleep(0)
        for file in self.opened:
            assert await asyncio.to_thread(file.is_closed.wait, 30)
        return len(self.opened)


@pytest.fixture
def opening(tmp_path: Path) -> SlowOpening:
    return SlowOpening(tmp_path / "history.db")


def follower_that_opens(opening: SlowOpening) -> HistoryFollower:
    return HistoryFollower(MemoryStore(), opening, namespace=LEDGER, timezone=UTC, journal_max=100_000, days=400)


async def stopping_while_it_opens(opening: SlowOpening) -> asyncio.Task[None]:
    """The shutdown of a follower that opens its history, as soon as nobody looks for more to copy."""
    follower = follower_that_opens(opening)
    follower.start()
    await opening.begun()
    stopping = asyncio.create_task(follower.stop(timeout_s=30))
    while follower._looking._task is not None:
        await asyncio.sleep(0)
    return stopping


async def test_a_file_that_a_shutdown_finds_half_open_is_opened_once_and_closed(opening):
    """As by a gateway on a slow disk, which stops right after it has started."""
    stopping = await stopping_while_it_opens(opening)
    opening.may_end.set()
    await stopping
    assert await opening.closed() == 1


async def test_a_file_that_opens_after_the_shutdown_is_closed(opening):
    follower = follower_that_opens(opening)
    follower.start()
    await opening.begun()
    await follower.stop(timeout_s=0.01)
    opening.may_end.set()
    assert await opening.closed() == 1


async def test_a_shutdown_that_is_cut_off_closes_its_file(opening):
    stopping = await stopping_while_it_opens(opening)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    opening.may_end.set()
    assert await opening.closed() == 1


async def test_a_command_that_is_ended_while_it_opens_the_file_closes_it(histories, opening, monkeypatch):
    monkeypatch.setattr(history_state, "open_database", opening)
    store, settings = MemoryStore(), load(history_url=histories.url)
    copying = asyncio.create_task(copy_history(OperatorContext(settings, store, operators_ledger_of(settings, store))))
    await opening.begun()
    copying.cancel()
    opening.may_end.set()
    await asyncio.gather(copying, return_exceptions=True)
    assert copying.cancelled()
    assert await opening.closed() == 1
