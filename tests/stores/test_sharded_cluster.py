"""A ledger with shards on a cluster of real nodes: its shards are spread, and one node that fails over fails alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Status
from budget_middleware.core.verbs import Finalize, Reserve
from budget_middleware.core.windows import Period
from budget_middleware.stores.errors import StoreUnavailable, WrongServer
from budget_middleware.stores.opening import open_store
from budget_middleware.stores.redis.shard import RedisShard
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.shard_map import MAIN, ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from tests.stores.audit import audit
from tests.stores.deployments import Cluster, Node, until
from tests.stores.verbs import finalize, reserve, target

pytestmark = pytest.mark.processes

SHARDS = ShardMap("team", 8)
TEAMS = [f"team:t{number}" for number in range(12)]


@pytest.fixture
async def store(cluster: Cluster, namespace: str) -> AsyncIterator[ShardedStore]:
    opened = open_store(cluster.url, namespace=namespace, timeout_s=1, retention=Retention(), shards=SHARDS)
    assert isinstance(opened, ShardedStore)
    yield opened
    await cluster.until_whole()
    await audit(opened)
    await opened.aclose()


async def owners(cluster: Cluster, store: ShardedStore) -> dict[str, Node]:
    """The node of each shard."""
    found: dict[str, Node] = {}
    for name in SHARDS.names:
        shard = store.shard(name)
        assert isinstance(shard, RedisShard)
        found[name] = await cluster.owner(shard._meta)
    return found


async def until_answered(store: ShardedStore, verb: Reserve | Finalize) -> Answer:
    async with asyncio.timeout(60):
        while True:
            try:
                return await (store.reserve(verb) if isinstance(verb, Reserve) else store.finalize(verb))
            except (StoreUnavailable, WrongServer):
                await asyncio.sleep(0.02)


async def serve(store: ShardedStore, number: int) -> None:
    """One request, as a ledger sends it: the same verb again until there is an answer."""
    accounts = ("global", f"key:{number:016x}", TEAMS[number % len(TEAMS)])
    counters = tuple(target(account, period=Period.TOTAL) for account in accounts)
    assert (await until_answered(store, reserve(f"r{number}", "0.02", *counters))).admits
    await until_answered(store, finalize(f"r{number}", "0.01", *counters))


async def test_shards_are_spread_and_each_request_is_booked_on_both_of_its_nodes(cluster: Cluster, store: ShardedStore):
    await asyncio.gather(*[serve(store, number) for number in range(24)])
    assert len(set((await owners(cluster, store)).values())) == 3
    shown = {view.counter.account: view.balance for view in await store.counters()}
    assert shown["global"] == Balance(240_000_000, 0)
    assert {shown[team] for team in TEAMS} == {Balance(20_000_000, 0)}


@pytest.mark.proves("I4", "I8")
@pytest.mark.parametrize("of", ["own", MAIN])
async def test_a_failover_of_one_node_loses_and_doubles_nothing(cluster: Cluster, store: ShardedStore, of: str):
    before = await owners(cluster, store)
    node = before[MAIN] if of == MAIN else next(each for each in before.values() if each is not before[MAIN])
    serving = [asyncio.create_task(serve(store, number)) for number in range(48)]
    replica = await cluster.replica_of(node)
    await replica("CLUSTER", "FAILOVER")
    await until(lambda: _has_moved(cluster, store, before))
    await asyncio.gather(*serving)
    shown = {view.counter.account: view.balance for view in await store.counters()}
    assert shown["global"] == Balance(480_000_000, 0)
    assert {shown[team] for team in TEAMS} == {Balance(40_000_000, 0)}
    assert (await store.sweep(at_most=10)).status is Status.EXPIRED


async def _has_moved(cluster: Cluster, store: ShardedStore, before: dict[str, Node]) -> bool:
    return await owners(cluster, store) != before
