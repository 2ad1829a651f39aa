"""A ledger behind Sentinels, under load: failovers, a Sentinel that is lost. Nothing is doubled or lost."""

from collections.abc import AsyncIterator

import pytest

from budget_middleware.core.windows import Period
from budget_middleware.stores.errors import StoreUnavailable, WrongServer
from budget_middleware.stores.redis import RedisStore
from tests.stores.audit import audit
from tests.stores.deployments import SERVICE, Load, Node, Watched, until
from tests.stores.verbs import LASTING, figures, reserve, target

pytestmark = pytest.mark.processes

FREE = target("key:load", period=Period.TOTAL)
ALL_REPLICAS = 2
"""Sentinels may choose any of them: what all of them have cannot be lost."""


@pytest.fixture
async def store(watched: Watched, namespace: str) -> AsyncIterator[RedisStore]:
    """Its counters must explain themselves when the test is over."""
    store = RedisStore(watched.url, namespace=namespace, timeout_s=1, replicas=ALL_REPLICAS)
    await store.head()
    yield store
    await watched.until_whole()
    await audit(store)
    await store.aclose()


async def _is_primary(watched: Watched, node: Node) -> bool:
    return await watched.primary() is node and (await node("ROLE"))[0] == "master"


async def _has_changed(watched: Watched, old: Node) -> bool:
    return not await _is_primary(watched, old) and await _is_primary(watched, await watched.primary())


async def test_a_planned_failover_is_followed(watched: Watched, store: RedisStore):
    """The old primary stays up as a replica, and so do the connections to it."""
    load, generation = Load(store, FREE), (await store.head()).generation
    await load.goes_on()
    old = await watched.primary()
    await watched.sentinels[0]("SENTINEL", "FAILOVER", SERVICE)
    await until(lambda: _has_changed(watched, old))
    # Sentinels do so too, ten seconds later.
    await old("REPLICAOF", "127.0.0.1", (await watched.primary()).port)
    await load.goes_on()
    spent = await load.end()
    assert await figures(store, FREE) == (spent, "0.00")
    assert (await store.head()).generation == generation


async def test_what_all_replicas_have_outlives_the_primary(watched: Watched, store: RedisStore):
    load, generation = Load(store, FREE), (await store.head()).generation
    await load.goes_on()
    old = await watched.primary()
    old.kill()
    await until(lambda: _has_changed(watched, old))
    old.start()
    await old("REPLICAOF", "127.0.0.1", (await watched.primary()).port)
    await load.goes_on()
    spent = await load.end()
    assert await figures(store, FREE) == (spent, "0.00")
    assert (await store.head()).generation == generation


async def test_one_sentinel_is_enough_and_the_library_is_loaded_where_it_is_missing(
    watched: Watched, store: RedisStore
):
    """A primary without the library of functions: its connection begins with the script, as every one does."""
    primary = await watched.primary()
    for sentinel in watched.sentinels[:2]:
        sentinel.kill()
    await primary("FUNCTION", "FLUSH")
    await primary("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await until(store.head)
    assert (await store.reserve(reserve("r1", "0.60", LASTING))).admits
    while under_way := [*store._gathered.current().under_way]:
        for task in under_way:
            await task
    assert (await store._place.wire()).commands[store._request_script.digest][0] == "FCALL"
    for sentinel in watched.sentinels[:2]:
        sentinel.start()


async def test_fewer_replicas_than_wanted_is_an_outage_and_the_verb_counts_once(watched: Watched, namespace: str):
    store = RedisStore(watched.url, namespace=namespace, timeout_s=0.5, replicas=ALL_REPLICAS + 1)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"2 of 3 replicas have it after 250 ms \(BUDGET_REPLICAS=3\)"):
            await store.reserve(reserve("r1", "0.60", LASTING))
    # Reads ask no replica.
    assert await figures(store, LASTING) == ("0.00", "0.60")
    await audit(store)
    await store.aclose()


async def test_wrong_sentinels_are_told_in_one_line(watched: Watched):
    sentinel, server = (f"127.0.0.1:{node.port}" for node in (watched.sentinels[0], watched.servers[0]))
    wrong = {
        f"redis+sentinel://:servers@{sentinel}/other?sentinel_password=sentinels": "do not know the service",
        f"redis+sentinel://:servers@{sentinel}/{SERVICE}": "another password",
        f"redis+sentinel://:servers@{server}/{SERVICE}?sentinel_password=servers": "not a Sentinel",
        f"redis+sentinel://:wrong@{sentinel}/{SERVICE}?sentinel_password=sentinels": "another password",
        f"redis+cluster://:servers@{server}": "not in cluster mode",
        f"redis://:sentinels@{sentinel}": "name it as one",
    }
    for url, words in wrong.items():
        store = RedisStore(url, timeout_s=5)
        with pytest.raises(WrongServer) as refused:
            await store.check()
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)
        await store.aclose()
