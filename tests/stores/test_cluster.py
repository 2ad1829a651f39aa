"""A ledger on a cluster of real nodes, under load: failovers, resharding, lost nodes. Nothing is doubled or lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from redis.crc import key_slot

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.units import Amounts, Unit, figure_text
from budget_middleware.core.windows import Period
from budget_middleware.ledger import Ledger
from budget_middleware.operations.doctor.finding import Health
from budget_middleware.operations.doctor.store import store_findings
from budget_middleware.settings_loading import load
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, WrongServer
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.redis.topology import Topology
from tests.ledger.conftest import drain, hold
from tests.stores.audit import audit
from tests.stores.deployments import Cluster, Load, Node, until
from tests.stores.verbs import LASTING, figures, finalize, reserve, target

pytestmark = pytest.mark.processes

FREE = target("key:load", period=Period.TOTAL)


def namespace_of(store: RedisStore) -> str:
    return store._prefix.removeprefix("{").removesuffix("}:")


@pytest.fixture
async def store(cluster: Cluster, namespace: str) -> AsyncIterator[RedisStore]:
    """Its counters must explain themselves when the test is over."""
    store = RedisStore(cluster.url, namespace=namespace, timeout_s=1)
    await store.head()
    yield store
    await cluster.until_whole()
    await audit(store)
    await store.aclose()


async def other_primary(cluster: Cluster, than: Node) -> Node:
    ranges = await than("CLUSTER", "SLOTS")
    return next(cluster.at(primary[1]) for _, _, primary, *_ in ranges if primary[1] != than.port)


async def test_a_planned_failover_loses_and_doubles_nothing(cluster: Cluster, store: RedisStore):
    load = Load(store, FREE)
    await load.goes_on()
    owner = await cluster.owner(store._meta)
    replica = await cluster.replica_of(owner)
    await replica("CLUSTER", "FAILOVER")
    await until(lambda: _serves(cluster, replica, store))
    await load.goes_on()
    spent = await load.end()
    assert await figures(store, FREE) == (spent, "0.00")


async def _serves(cluster: Cluster, node: Node, store: RedisStore) -> bool:
    return await cluster.owner(store._meta) is node


async def test_what_a_replica_has_acknowledged_outlives_its_primary(cluster: Cluster, namespace: str):
    """BUDGET_REPLICAS=1, a replica each, kill -9 in the middle of it all."""
    store = RedisStore(cluster.url, namespace=namespace, timeout_s=1, replicas=1)
    generation = (await store.head()).generation
    load = Load(store, FREE)
    await load.goes_on()
    owner = await cluster.owner(store._meta)
    replica = await cluster.replica_of(owner)
    owner.kill()
    await until(lambda: _serves(cluster, replica, store))
    # The new primary has no replica yet: what it writes does not count.
    await load.fails("0 of 1 replicas have it")
    owner.start()
    await load.goes_on()
    spent = await load.end()
    assert await figures(store, FREE) == (spent, "0.00")
    assert (await store.head()).generation == generation
    await cluster.until_whole()
    await audit(store)
    await store.aclose()


async def test_no_call_runs_on_a_part_of_a_ledger(cluster: Cluster, store: RedisStore):
    """Its slot moves key by key, in small steps, under load."""
    load, slot = Load(store, FREE), key_slot(store._meta.encode())
    await load.goes_on()
    source = await cluster.owner(store._meta)
    destination = await other_primary(cluster, source)
    ids = {node: await node("CLUSTER", "MYID") for node in (source, destination)}
    await destination("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    await source("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[destination])
    await load.fails("the ledger is being moved to another node (TRYAGAIN")
    finished = load.finished
    impatient = RedisStore(cluster.url, namespace=namespace_of(store), timeout_s=0.2)
    keys = await source("CLUSTER", "GETKEYSINSLOT", slot, 1_000_000)
    for moved in (keys[::3], keys[1::3], keys[2::3]):
        await source("MIGRATE", "127.0.0.1", destination.port, "", 0, 5000, "KEYS", *moved)
        with pytest.raises(StoreUnavailable, match=r"being moved to another node \((TRYAGAIN|ASK)"):
            await impatient.head()
    await impatient.aclose()
    assert load.finished == finished
    assert not await source("CLUSTER", "GETKEYSINSLOT", slot, 1)
    for node in (destination, source):
        await node("CLUSTER", "SETSLOT", slot, "NODE", ids[destination])
    await load.goes_on()
    spent = await load.end()
    assert await figures(store, FREE) == (spent, "0.00")
    assert await cluster.owner(store._meta) is destination


async def test_a_slot_that_moves_at_once_is_followed(cluster: Cluster, store: RedisStore):
    load, slot = Load(store, FREE), key_slot(store._meta.encode())
    await load.goes_on()
    source = await cluster.owner(store._meta)
    destination = await other_primary(cluster, source)
    await source("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", await destination("CLUSTER", "MYID"))
    await until(lambda: _serves(cluster, destination, store))
    await load.goes_on()
    spent = await load.end()
    assert await figures(store, FREE) == (spent, "0.00")
    assert not [failure for failure in load.failures if "MOVED" in failure], "whoever is sent on goes on there"


async def test_ledgers_of_one_topology_share_a_connection_a_node(cluster: Cluster, namespace: str):
    topology = Topology(cluster.url, timeout_s=5)
    stores = [RedisStore(topology, namespace=f"{namespace}-{number}") for number in range(12)]
    await asyncio.gather(*(store.reserve(reserve("r1", "0.60", LASTING)) for store in stores))
    wires = [store._place.ready_wire for store in stores]
    assert None not in wires
    owners = [await cluster.owner(store._meta) for store in stores]
    assert len(set(wires)) == len(set(owners)) == 3
    assert await stores[0].neighbours() == sorted(
        {name for store in stores for name in [*await store.neighbours()]} - {f"{namespace}-0"}
    )
    assert {f"{namespace}-{number}" for number in range(1, 12)} <= {*await stores[0].neighbours()}
    await stores[0].aclose()


async def test_freed_budget_is_heard_of_at_whichever_node(cluster: Cluster, store: RedisStore):
    listener = RedisStore(cluster.url, namespace=namespace_of(store), timeout_s=5)
    ready, freed = asyncio.Event(), asyncio.Queue[Sequence[str]]()
    hearing = asyncio.create_task(listener.listen(freed.put_nowait, on_ready=ready.set))
    await ready.wait()
    await store.reserve(reserve("r1", "0.60", LASTING))
    await store.finalize(finalize("r1", "0.10", LASTING))
    assert await asyncio.wait_for(freed.get(), 10) == ["key:a"]
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
    await listener.aclose()


async def test_a_gateway_serves_through_a_failover_and_books_every_answer(cluster: Cluster, store: RedisStore):
    """No BUDGET_REPLICAS: the ledger knows what it has ended, and ends it again where that was lost."""
    own = RedisStore(cluster.url, namespace=namespace_of(store), timeout_s=0.3)
    ledger = Ledger(own, limits=parse_limits("key=1000/month"), store_timeout_s=0.3)
    served, is_over, unprotected = 0, False, 0

    async def serve() -> None:
        nonlocal served, unprotected
        while not is_over:
            held = hold("0.01", key="load")
            try:
                await ledger.reserve(held)
            except (StoreUnavailable, StoreRefused):
                assert ledger.reserve_locally(held) is None
                unprotected += 1
                await asyncio.sleep(0.05)
            await ledger.finalize(held, actual=Amounts(usd=10_000_000))
            served += 1

    async def has_served(more: int, *, of: Callable[[], int]) -> None:
        until_count = of() + more
        await until(lambda: _true(of() >= until_count))

    serving = [asyncio.create_task(serve()) for _ in range(4)]
    await has_served(50, of=lambda: served)
    owner = await cluster.owner(store._meta)
    replica = await cluster.replica_of(owner)
    owner.kill()
    await has_served(4, of=lambda: unprotected)
    await until(lambda: _serves(cluster, replica, store))
    protected = served - unprotected
    await until(lambda: _true(served - unprotected >= protected + 50))
    is_over = True
    await asyncio.gather(*serving)
    owner.start()
    await until(lambda: _has_spent(store, f"{served / 100:.2f}"))
    await drain(ledger)


async def _true(condition: bool) -> bool:
    return condition


async def _has_spent(store: RedisStore, usd: str) -> bool:
    (view,) = await store.counters()
    return figure_text(view.balance.spent, Unit.USD) == usd and not view.balance.reserved


async def test_a_shard_that_is_lost_is_away_and_comes_back_empty(cluster: Cluster, namespace: str):
    """Others go on meanwhile. That it forgot is seen by its generation."""
    topology = Topology(cluster.url, timeout_s=1)
    stores = [RedisStore(topology, namespace=f"{namespace}-{number}") for number in range(6)]
    generations = [(await store.head()).generation for store in stores]
    owner = await cluster.owner(stores[0]._meta)
    is_lost = [await cluster.owner(store._meta) is owner for store in stores]
    both = [owner, await cluster.replica_of(owner)]
    for node in both:
        node.kill()
    for store, lost in zip(stores, is_lost, strict=True):
        if lost:
            with pytest.raises((StoreUnavailable, WrongServer)):
                await store.head()
        else:
            await store.head()
    for node in both:
        node.start()
    await cluster.until_whole()
    for store, generation, lost in zip(stores, generations, is_lost, strict=True):
        await until(store.head)
        assert ((await store.head()).generation != generation) is lost
    await topology.aclose()


async def test_doctor_tells_where_the_ledger_is(cluster: Cluster, store: RedisStore):
    namespace = namespace_of(store)
    settings = load(store_url=cluster.url, namespace=namespace, replicas="1", store_timeout_s="5")
    (found,) = [each for each in await store_findings(settings) if each.check == "topology"]
    owner = await cluster.owner(store._meta)
    slot = key_slot(store._meta.encode())
    assert found.status is Health.OK
    assert found.message == (
        f"cluster of 3 primaries, the ledger is in slot {slot} at 127.0.0.1:{owner.port};"
        " 1 replica, min-replicas-to-write 0, BUDGET_REPLICAS=1: the store is away whenever one of them is"
    )


async def test_doctor_tells_of_a_cluster_without_our_slot_in_one_line(tmp_path: Path, namespace: str):
    """Slots that nobody serves, and a node that cannot be reached."""
    cluster = Cluster(tmp_path, shards=1)
    node, _ = cluster.nodes
    node.start()
    settings = load(store_url=f"redis+cluster://127.0.0.1:{node.port}", namespace=namespace, store_timeout_s="5")
    slot = key_slot(f"{{{namespace}}}".encode())
    await node("CLUSTER", "DELSLOTS", slot)
    (found,) = [each for each in await store_findings(settings) if each.check == "store"]
    assert found.message == (f"no node of the cluster serves slot {slot}, that of BUDGET_NAMESPACE (CLUSTER SLOTS)")
    assert found.fix == "see CLUSTER INFO and assign it"
    cluster.stop()
    (found,) = await store_findings(settings)
    assert found.status is Health.FAIL
    assert "\n" not in found.message
    assert f"127.0.0.1:{node.port}" in found.message
