"""The store is really gone: a worker goes on by the last figures that it saw, and books what it served later, once."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis

from budget_middleware.core.model import Target
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Adjust
from budget_middleware.core.windows import window_named
from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import free_port
from tests.faults.fixtures import Server, StartGateway
from tests.faults.gateway import USD, Gateway, actual_nanos
from tests.faults.proxy import FaultProxy
from tests.faults.waiting import until, until_figures

pytestmark = pytest.mark.processes

LIMIT_NANOS = USD // 1_000
"""Some eight requests."""
SMALL = {"words": 10, "prompt": 10, "max_tokens": 10}

Gone = Callable[[Server, FaultProxy], None]


def freeze(server: Server, proxy: FaultProxy) -> None:
    server.freeze()


def kill(server: Server, proxy: FaultProxy) -> None:
    server.kill()


def cut(server: Server, proxy: FaultProxy) -> None:
    proxy.cut()


def slow(server: Server, proxy: FaultProxy) -> None:
    proxy.slow_down(2)


def bring_back(server: Server, proxy: FaultProxy, gone: Gone) -> None:
    if gone is kill:
        server.start()
    server.thaw()
    proxy.mend()
    proxy.slow_down(0)


async def spend(gateway: Gateway, key: str) -> int:
    """Ask until the key is refused; how many requests were served."""
    served = 0
    while (reply := await gateway.ask(key=key, **SMALL)).status == 200:
        assert "x-budget-unprotected" not in reply.headers
        served += 1
    assert reply.status == 429
    return served


@pytest.mark.parametrize("gone", [freeze, kill, cut, slow])
async def test_f34_a_key_that_was_spent_stays_refused_while_the_store_is_away(
    start_gateway: StartGateway, server: Server, proxy: FaultProxy, store: RedisStore, gone: Gone
):
    gateway = start_gateway(limits=f"key={LIMIT_NANOS / USD}/total", store_timeout_s="0.3")
    served = await spend(gateway, "spent")
    assert (await gateway.ask(key="half", **SMALL)).status == 200
    gone(server, proxy)
    assert [(await gateway.ask(key="spent", **SMALL)).status for _ in range(10)] == [429] * 10
    replies = [await gateway.ask(key="half", **SMALL) for _ in range(20)]
    unprotected = [reply for reply in replies if reply.status == 200]
    assert {reply.headers["x-budget-unprotected"] for reply in unprotected} == {"1"}
    assert {reply.status for reply in replies} == {200, 429}, "it had some of its budget left, and not more"
    assert (1 + len(unprotected)) * actual_nanos() <= LIMIT_NANOS
    bring_back(server, proxy, gone)
    await until_figures(store, spent=(served + 1 + len(unprotected)) * actual_nanos())


async def test_two_workers_pass_a_limit_by_what_was_left_at_most(
    start_gateway: StartGateway, server: Server, store: RedisStore
):
    """Each has half of its figures from the other's requests."""
    settings = {"limits": f"key={LIMIT_NANOS / USD}/total", "store_timeout_s": "0.3", "lease_s": "1"}
    gateways = [start_gateway(**settings) for _ in range(2)]
    before = [await gateway.ask(key="half", **SMALL) for gateway in gateways * 2]
    assert {reply.status for reply in before} == {200}
    left_nanos = LIMIT_NANOS - len(before) * actual_nanos()
    server.freeze()
    after = [await gateway.ask(key="half", **SMALL) for gateway in gateways * 10]
    served = sum(reply.status == 200 for reply in after)
    assert 0 < served * actual_nanos() <= 2 * (left_nanos + actual_nanos())
    server.thaw()
    await until_figures(store, spent=(len(before) + served) * actual_nanos())


async def test_a_key_that_another_worker_spent_stays_refused(
    start_gateway: StartGateway, server: Server, proxy: FaultProxy
):
    """This worker never saw it, but its heartbeat has read the journal."""
    settings = {"limits": f"key={LIMIT_NANOS / USD}/total", "store_timeout_s": "0.3", "lease_s": "1"}
    other, gateway = start_gateway(**settings), start_gateway(**settings)
    await spend(other, "spent")
    assert (await gateway.ask(key="mine", **SMALL)).status == 200
    seen = proxy.seen["sweep"]

    async def have_beaten() -> bool:
        return proxy.seen["sweep"] >= seen + 4

    await until(have_beaten)
    server.freeze()
    assert [(await gateway.ask(key="spent", **SMALL)).status for _ in range(5)] == [429] * 5
    server.thaw()


async def test_refusals_of_an_outage_do_not_crowd_out_what_waits_to_be_booked(
    start_gateway: StartGateway, server: Server, store: RedisStore
):
    gateway = start_gateway(limits=f"key={LIMIT_NANOS / USD}/total", store_timeout_s="0.3", spool_max="20")
    served = await spend(gateway, "spent")
    server.freeze()
    assert (await gateway.ask(key="fresh", **SMALL)).status == 200
    for _ in range(100):
        assert (await gateway.ask(key="spent", **SMALL)).status == 429
    assert (await gateway.ask(key="fresh", **SMALL)).status == 200
    server.thaw()
    await until_figures(store, spent=(served + 2) * actual_nanos())
    assert "is lost" not in gateway.log.read_text()


async def test_f63_a_demoted_server_that_keeps_its_connections_is_left(
    start_gateway: StartGateway, proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory
):
    """Its refusals look healthy, for a refusal writes nothing; its figures are those of the past."""
    old, new = (Server(tmp_path_factory.mktemp(name), port=free_port()) for name in ("old", "new"))
    async with AsyncExitStack() as stack:
        for each in (old, new):
            each.start()
            stack.callback(each.kill)
        admins = [await stack.enter_async_context(Redis.from_url(each.url)) for each in (old, new)]
        await admins[1].execute_command("REPLICAOF", "127.0.0.1", str(old.port))
        proxy.lead_to(old.socket)
        gateway = start_gateway(limits=f"key={LIMIT_NANOS / USD}/total", store_timeout_s="0.5")
        await spend(gateway, "spent")
        await until(lambda: _has_caught_up(admins))
        await admins[1].execute_command("REPLICAOF", "NO", "ONE")
        await admins[0].execute_command("REPLICAOF", "127.0.0.1", str(new.port))
        proxy.lead_to(new.socket)
        store = RedisStore(new.url, timeout_s=5)
        stack.push_async_callback(store.aclose)
        (view,) = await store.counters()
        window = window_named(view.counter.period, view.counter.window, timezone=ZoneInfo("UTC"))
        credit = Adjust("credit", (Target(view.counter.account, window),), Amounts(usd=-LIMIT_NANOS), reason="goodwill")
        await store.adjust(credit)

        async def is_served_and_protected() -> bool:
            reply = await gateway.ask(key="spent", **SMALL)
            return reply.status == 200 and "x-budget-unprotected" not in reply.headers

        await until(is_served_and_protected, within_s=10)


async def _has_caught_up(admins: list[Redis]) -> bool:
    offsets = [await admin.execute_command("ROLE") for admin in admins]
    return bool(offsets[0][1] == offsets[1][4])
