"""The store is away, shards, and what a gateway brings along: each worker tells of an outage by itself."""

import logging
from typing import Any

import pytest

from budget_middleware.alerts.follower import AlertFollower
from budget_middleware.alerts.outage import OutageWatch
from budget_middleware.core.alerts.plan import Receiver, Shape, parse_alerts
from budget_middleware.core.model import Balance
from budget_middleware.core.windows import Period
from budget_middleware.followers import Followers
from budget_middleware.ledger import Ledger
from budget_middleware.opening import ledger_of
from budget_middleware.settings_loading import load
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.memory_shard import MemoryShard
from budget_middleware.stores.sharded.shard_map import ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from budget_middleware.telemetry import Telemetry
from tests.alerts.conftest import follow
from tests.stores.verbs import DAY_MS, UTC, finalize, target


async def test_a_store_that_is_away_is_told_once_an_outage(receiver, caplog):
    now_s = [1_000_000.0]
    watch = OutageWatch(
        [Receiver(Shape.WEBHOOK, receiver.url), Receiver(Shape.PAGERDUTY, receiver.url, b"K")],
        name="budget", worker="w1", telemetry=Telemetry(), timeout_s=60, now_s=lambda: now_s[0],
    )  # fmt: skip
    watch.see_away()
    now_s[0] += 29
    watch.see_away()
    await watch.wait_until_sent()
    assert receiver.taken == []
    now_s[0] += 1
    watch.see_away()
    watch.see_away()
    await watch.wait_until_sent()
    webhook, pagerduty = sorted((taken.json for taken in receiver.taken), key=lambda body: "routing_key" in body)
    assert webhook["summary"] == "the store of budget gives no answer to worker w1 for 30 seconds"
    assert pagerduty["dedup_key"] == webhook["topic"]
    with caplog.at_level(logging.WARNING):
        watch.see_answer()
    assert "the store of budget answers again" in caplog.text
    # Another outage is another alert, of the same topic.
    watch.see_away()
    now_s[0] += 30
    watch.see_away()
    await watch.wait_until_sent()
    webhooks = [taken.json for taken in receiver.taken if "topic" in taken.json]
    assert len({body["id"] for body in webhooks}) == 2
    assert len({body["topic"] for body in webhooks}) == 1


class _Away(MemoryStore):
    is_away = False

    async def head(self):
        if self.is_away:
            raise StoreUnavailable("connection refused")
        return await super().head()


async def test_a_follower_waits_for_its_store_and_goes_on(clock, make_follower, receiver, caplog):
    store = _Away(clock_ms=clock)
    follower = make_follower(store)
    await follow(follower)
    store.is_away = True
    with caplog.at_level(logging.WARNING):
        pauses = [await follower.look() for _ in range(6)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert caplog.text.count("alerts wait, the journal keeps what is not looked at") == 1
    await store.finalize(finalize("r1", "5.00", target("key:ab", period=Period.DAY)))
    store.is_away = False
    await follow(follower)
    assert [taken.json["account"] for taken in receiver.taken] == ["key:ab"]


async def test_a_store_that_was_emptied_is_told_and_watched_from_there_on(clock, make_follower, receiver):
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    await store.finalize(finalize("r0", "1.00", target("key:ab", period=Period.DAY)))
    await follow(follower)
    emptied = MemoryStore(clock_ms=clock)
    for each in (follower, follower._board, follower._queue, follower._rounds):
        each._store = emptied
    follower._renew_at_s = 0.0
    await emptied.finalize(finalize("r1", "1.00", target("key:ab", period=Period.DAY)))
    await follow(follower)
    await emptied.finalize(finalize("r2", "4.00", target("key:ab", period=Period.DAY)))
    await follow(follower)
    assert [taken.json["rule"] for taken in receiver.taken] == ["journal_gap", "spent"]


async def test_a_source_of_limits_that_fails_for_one_account_holds_up_no_other(clock, receiver):
    """Accounts come from clients, and what a user's own code makes of one must not end all alerts."""

    async def limits_source(account: str) -> str | None:
        if account == "key:bad":
            raise KeyError(account)
        return "10/day!alert=50" if account == "key:ab" else None

    store = MemoryStore(clock_ms=clock)
    plan = parse_alerts(f"{receiver.url}; audit=off")
    assert plan is not None
    ledger = Ledger(store, limits_source=limits_source)
    follower = AlertFollower(ledger, plan, name="budget", timezone=UTC, lease_ms=60_000)
    await follow(follower)
    await store.finalize(finalize("r1", "5.00", target("key:bad", period=Period.DAY)))
    await store.finalize(finalize("r2", "5.00", target("key:ab", period=Period.DAY)))
    await follow(follower)
    assert [taken.json["account"] for taken in receiver.taken] == ["key:ab"]
    await follower.stop(timeout_s=5)


@pytest.mark.parametrize("shards", [2, 4])
async def test_the_journal_of_each_shard_is_followed(clock, make_follower, receiver, shards):
    kept: dict[str, MemoryShard] = {}
    store = ShardedStore(
        ShardMap("team", shards), lambda name: kept.setdefault(name, MemoryShard(Retention(), clock_ms=clock))
    )
    follower = make_follower(store, limits="team=10/day!alert=50; global=20/day!alert=50")
    await follow(follower)
    teams = [f"team:{name}" for name in ("search", "ads", "mail", "docs")]
    for number, team in enumerate(teams):
        both = target(team, period=Period.DAY), target("global", period=Period.DAY)
        await store.finalize(finalize(f"r{number}", "5.00", *both))
    await follow(follower)
    assert sorted(taken.json["account"] for taken in receiver.taken) == sorted([*teams, "global"])
    assert len([name for name in kept if follower._board.get(f"read_to:{name}")]) == len(kept)


async def test_a_gateway_audits_in_the_night_and_logs_once(clock, caplog, receiver):
    """With what a gateway has: its settings, its ledger, and the audit that operators run."""
    store = MemoryStore(clock_ms=clock)
    settings = load(store_url="memory://", alerts=f"{receiver.url}; audit=00:00", limits="key=10/day!alert=50")
    ledger = ledger_of(settings, store=store, is_gateway=True)
    followers = Followers(settings, ledger, is_store_given=True)
    follower = followers._alerts
    assert follower is not None
    await follow(follower)
    await store.finalize(finalize("r1", "5.00", target("key:ab", period=Period.DAY)))
    tables: Any = store._tables
    balances = tables._balances
    (counter,) = balances
    balances[counter] = Balance(balances[counter].spent + 1, balances[counter].reserved)
    clock.advance(ms=DAY_MS)
    with caplog.at_level(logging.INFO):
        await follow(follower)
        assert follower._rounds._audit is not None
        await follower._rounds._audit
        await follow(follower)
    assert "the nightly audit of budget has found 1 figures" in caplog.text
    assert [taken.json["rule"] for taken in receiver.taken] == ["spent", "drift"]
    await followers.stop()
    await ledger.drain()
