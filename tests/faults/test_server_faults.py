"""A server that is killed, emptied, full, read-only, or has forgotten its scripts."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis

from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.verbs import Repair
from budget_middleware.core.windows import window_named
from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import free_port
from tests.faults.fixtures import Server
from tests.faults.gateway import Gateway, actual_nanos
from tests.faults.proxy import FaultProxy
from tests.faults.waiting import figures, until, until_figures
from tests.stores.audit import audit, audit_report

pytestmark = pytest.mark.processes

WORDS = 60


@pytest.fixture
async def admin(server: Server):
    async with Redis.from_url(server.url) as admin:
        yield admin


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


async def _ten_streams(gateway: Gateway, *, words: int = WORDS) -> list[asyncio.Task]:
    """Ten requests in flight, each with output under way."""
    begun = asyncio.Semaphore(0)

    async def one() -> bytes:
        async with gateway.open(play="stream", words=words, pause=0.02) as (_, reader):
            first = await reader.readuntil(b"\n\n")
            begun.release()
            return first + await reader.read()

    tasks = [asyncio.create_task(one()) for _ in range(10)]
    for _ in tasks:
        await begun.acquire()
    return tasks


async def _all_served(tasks: list[asyncio.Task]) -> None:
    for answer in await asyncio.gather(*tasks):
        assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_f31_emptied_with_ten_in_flight(start_gateway, store: RedisStore, admin: Redis):
    gateway = start_gateway(limits="key=100/day")
    tasks = await _ten_streams(gateway)
    await admin.flushall()
    await _all_served(tasks)
    await until_figures(store, spent=10 * actual_nanos(words=WORDS))
    assert {entry.status for entry in await store.latest(count=100)} == {Status.FINALIZED_UNRESERVED}
    assert (await gateway.ask()).status == 200


async def test_killed_and_restarted_with_its_data(start_gateway, server: Server, store: RedisStore):
    gateway = start_gateway(limits="key=100/day", store_timeout_s="0.3")
    assert (await gateway.ask()).status == 200
    tasks = await _ten_streams(gateway)
    server.kill()
    await _all_served(tasks)
    server.start()
    await until_figures(store, spent=actual_nanos() + 10 * actual_nanos(words=WORDS))
    assert not await store.holds()


async def test_killed_and_restarted_empty_gets_the_last_minutes_again(start_gateway, server: Server, store: RedisStore):
    gateway = start_gateway(limits="key=100/day", store_timeout_s="0.3")
    assert (await gateway.ask()).status == 200
    tasks = await _ten_streams(gateway)
    server.kill()
    server.forget()
    server.start()
    await _all_served(tasks)
    # The one that ended before the loss is booked again too: its ending was acknowledged minutes ago at most.
    await until_figures(store, spent=actual_nanos() + 10 * actual_nanos(words=WORDS))


async def test_forgotten_scripts_are_loaded_again(start_gateway, store: RedisStore, admin: Redis):
    gateway = start_gateway()
    for _ in range(3):
        assert (await gateway.ask()).status == 200
        await admin.script_flush()
    await until_figures(store, spent=3 * actual_nanos())


async def test_killed_connections_are_made_again(start_gateway, store: RedisStore, admin: Redis):
    gateway = start_gateway(limits="key=100/day")
    tasks = await _ten_streams(gateway)
    for _ in range(3):
        await admin.client_kill_filter(_type="normal", skipme=True)
        reply = await gateway.ask()
        assert reply.status == 200
        assert "x-budget-unprotected" not in reply.headers
    await _all_served(tasks)
    await until_figures(store, spent=3 * actual_nanos() + 10 * actual_nanos(words=WORDS))


@pytest.mark.parametrize(("mode", "status"), [("open", 200), ("closed", 503)])
async def test_full_memory(start_gateway, store: RedisStore, admin: Redis, mode: str, status: int):
    gateway = start_gateway(on_store_error=mode, limits="key=100/day", store_timeout_s="0.3")
    tasks = await _ten_streams(gateway)
    await admin.config_set("maxmemory", "1mb")
    refused = await gateway.ask()
    assert refused.status == status
    await _all_served(tasks)
    await admin.config_set("maxmemory", "0")
    more = actual_nanos() if mode == "open" else 0
    await until_figures(store, spent=more + 10 * actual_nanos(words=WORDS))
    assert (await gateway.ask()).status == 200


@pytest.mark.parametrize(("mode", "status"), [("open", 200), ("closed", 503)])
async def test_a_read_only_replica_after_failover(
    start_gateway, store: RedisStore, admin: Redis, mode: str, status: int
):
    gateway = start_gateway(on_store_error=mode, limits="key=100/day", store_timeout_s="0.3")
    tasks = await _ten_streams(gateway)
    # A replica of a server that does not answer keeps its data and refuses to write.
    await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert (await gateway.ask()).status == status
    await _all_served(tasks)
    await admin.execute_command("REPLICAOF", "NO", "ONE")
    more = actual_nanos() if mode == "open" else 0
    await until_figures(store, spent=more + 10 * actual_nanos(words=WORDS))


async def test_a_failover_to_a_replica_that_missed_the_last_writes(
    start_gateway, proxy: FaultProxy, tmp_path: Path, stack: AsyncExitStack
):
    """What the old primary acknowledged and never passed on is sent again to the new one."""
    port = free_port()
    primary, replica = Server(_folder(tmp_path, "old"), port=port), Server(_folder(tmp_path, "new"))
    for server in (primary, replica):
        server.start()
        stack.callback(server.kill)
    admin = await stack.enter_async_context(Redis.from_url(replica.url))
    store = RedisStore(replica.url, timeout_s=5)
    stack.push_async_callback(store.aclose)
    await admin.execute_command("REPLICAOF", "127.0.0.1", str(port))
    proxy.lead_to(primary.socket)
    gateway = start_gateway(limits="key=100/day", store_timeout_s="0.3")
    for _ in range(3):
        assert (await gateway.ask()).status == 200
    tasks = await _ten_streams(gateway, words=300)

    async def all_is_copied() -> bool:
        # A replica refuses scripts that may write: three reserves, three finalizes, and ten reserves.
        return await admin.zcard(f"{store._prefix}entries") == 16

    await until(all_is_copied)
    await admin.execute_command("REPLICAOF", "NO", "ONE")
    for _ in range(4):
        assert "x-budget-unprotected" not in (await gateway.ask()).headers
    assert (await figures(store))[0] == 3 * actual_nanos(), "the new one has missed these"
    proxy.cut()
    primary.kill()
    proxy.lead_to(replica.socket)
    proxy.mend()
    await _all_served(tasks)
    await until_figures(store, spent=7 * actual_nanos() + 10 * actual_nanos(words=300))
    assert (await gateway.ask()).status == 200
    await audit(store)


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


async def test_a_poisoned_counter_refuses_or_serves_and_harms_no_neighbour(
    start_gateway, store: RedisStore, admin: Redis
):
    gateway = start_gateway(on_store_error="closed")
    assert (await gateway.ask(key="a")).status == 200
    assert (await gateway.ask(key="b")).status == 200
    poisoned, _ = [key async for key in admin.scan_iter("*c:key:*")]
    await admin.delete(poisoned)
    await admin.set(poisoned, "not a hash")
    replies = {key: await gateway.ask(key=key) for key in "ab"}
    assert sorted(reply.status for reply in replies.values()) == [200, 503]

    async def a_neighbour_is_exact() -> bool:
        return not await store.holds()

    await until(a_neighbour_is_exact)
    await admin.delete(poisoned)
    assert await figures(store) == (2 * actual_nanos(), 0)


async def test_a_poisoned_reservation_harms_no_other_and_is_booked_once_it_is_gone(
    start_gateway, store: RedisStore, admin: Redis
):
    gateway = start_gateway(limits="key=100/day", lease_s="3", remember_s="60")
    tasks = await _ten_streams(gateway)
    poisoned = f"{store._prefix}r:{(await store.holds())[0].id}"
    await admin.delete(poisoned)
    await admin.set(poisoned, "not a hash")
    assert (await gateway.ask()).status == 200
    await _all_served(tasks)

    async def the_others_are_booked() -> bool:
        return (await figures(store))[0] == actual_nanos() + 9 * actual_nanos(words=WORDS)

    await until(the_others_are_booked)
    assert await store.damage()
    await admin.delete(poisoned)

    async def it_is_booked_too() -> bool:
        return (await figures(store))[0] == actual_nanos() + 10 * actual_nanos(words=WORDS)

    await until(it_is_booked_too)
    # What it held nobody gives back but an operator.
    await store.damage(mend=True)
    (lacks,) = (await audit_report(store)).corrections
    counter = (await store.proofs())[0].counter
    window = window_named(counter.period, counter.window, timezone=ZoneInfo("UTC"))
    await store.repair(Repair("x", Target(counter.account, window), lacks.spent, lacks.found_at_seq))
    await until_figures(store, spent=actual_nanos() + 10 * actual_nanos(words=WORDS))
    assert (await audit_report(store)).drift == ()
