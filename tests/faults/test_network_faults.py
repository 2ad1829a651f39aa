"""A network between worker and server that loses, delays and cuts single commands."""

import asyncio
import time

import pytest

from budget_middleware.stores.redis import RedisStore
from tests.faults.gateway import actual_nanos
from tests.faults.proxy import Fault, FaultProxy
from tests.faults.waiting import figures, until, until_figures
from tests.stores.audit import audit

pytestmark = pytest.mark.processes


@pytest.mark.proves("I8", "I10")
@pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.LOSE_REPLY])
@pytest.mark.parametrize("verb", ["reserve", "finalize"])
async def test_f09_f10_a_lost_command_is_repeated_and_counts_once(
    start_gateway, proxy: FaultProxy, store: RedisStore, verb: str, fault: Fault
):
    gateway = start_gateway()
    proxy.plan(verb, fault, fault, fault)
    reply = await gateway.ask()
    assert reply.status == 200
    assert "x-budget-unprotected" not in reply.headers
    await until_figures(store, spent=actual_nanos())

    async def is_answered() -> bool:
        return proxy.seen[verb] == 4

    await until(is_answered)


@pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.LOSE_REPLY])
async def test_a_lost_release_is_repeated(start_gateway, proxy: FaultProxy, store: RedisStore, fault: Fault):
    gateway = start_gateway()
    proxy.plan("release", fault, fault)
    assert (await gateway.ask(play="error")).status == 500
    await until_figures(store, spent=0)
    assert proxy.seen["release"] == 3


@pytest.mark.proves("I10")
@pytest.mark.parametrize("play", ["json", "error"])
@pytest.mark.parametrize("verb", ["reserve", "finalize", "release"])
async def test_a_command_that_arrives_twice_counts_once(
    start_gateway, proxy: FaultProxy, store: RedisStore, verb: str, play: str
):
    gateway = start_gateway()
    for _ in range(3):
        proxy.plan(verb, Fault.DUPLICATE)
        await gateway.ask(play=play)
    await until_figures(store, spent=3 * actual_nanos() * (play == "json"))
    await audit(store)


async def test_a_finalize_that_its_own_repetition_overtakes_counts_once(
    start_gateway, proxy: FaultProxy, store: RedisStore
):
    gateway = start_gateway(store_timeout_s="0.3", limits="key=100/day")
    assert (await gateway.ask()).status == 200
    proxy.plan("finalize", Fault.DELAY)
    assert (await gateway.ask()).status == 200
    await until_figures(store, spent=2 * actual_nanos())
    proxy.gate.set()

    async def the_first_arrives() -> bool:
        return proxy.applied["finalize"] == 3

    await until(the_first_arrives)
    assert await figures(store) == (2 * actual_nanos(), 0)
    await audit(store)


async def test_f02_a_reserve_that_arrives_after_its_request_was_given_up_holds_nothing(
    start_gateway, proxy: FaultProxy, store: RedisStore
):
    gateway = start_gateway(on_store_error="closed")
    proxy.plan("reserve", Fault.DELAY)
    refused = await gateway.ask()
    assert (refused.status, refused.error_code) == (503, "budget_unavailable")

    async def tombstone_is_there() -> bool:
        return proxy.seen["release"] == 1

    await until(tombstone_is_there)
    proxy.gate.set()
    assert (await gateway.ask()).status == 200
    await until_figures(store, spent=actual_nanos())
    assert len(gateway.served()) == 1


async def test_closed_refuses_within_the_time_out_and_touches_no_upstream(
    start_gateway, proxy: FaultProxy, store: RedisStore
):
    gateway = start_gateway(on_store_error="closed", store_timeout_s="0.3")
    proxy.always("reserve", Fault.SWALLOW)
    started = time.monotonic()
    refused = await gateway.ask()
    # Bounded by the setting; the margin is for a loaded machine.
    assert time.monotonic() - started < 5
    assert (refused.status, refused.error_code) == (503, "budget_unavailable")
    assert gateway.served() == []
    proxy.always("reserve", None)
    assert (await gateway.ask()).status == 200
    await until_figures(store, spent=actual_nanos())


@pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.LOSE_REPLY, Fault.SWALLOW])
async def test_open_serves_unprotected_and_books_exactly_once(
    start_gateway, proxy: FaultProxy, store: RedisStore, fault: Fault
):
    gateway = start_gateway(store_timeout_s="0.3")
    proxy.always("reserve", fault)
    reply = await gateway.ask()
    assert reply.status == 200
    assert reply.headers["x-budget-unprotected"] == "1"
    await until_figures(store, spent=actual_nanos())


async def test_f30_a_store_that_is_away_books_later_and_once(start_gateway, proxy: FaultProxy, store: RedisStore):
    gateway = start_gateway(store_timeout_s="0.2")
    assert (await gateway.ask()).status == 200
    proxy.cut()
    replies = await asyncio.gather(*(gateway.ask(key=f"k{n}") for n in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert {reply.headers["x-budget-unprotected"] for reply in replies} == {"1"}
    proxy.mend()
    await until_figures(store, spent=21 * actual_nanos())


async def test_f30_closed_refuses_while_the_store_is_away(start_gateway, proxy: FaultProxy, store: RedisStore):
    gateway = start_gateway(store_timeout_s="0.2", on_store_error="closed")
    proxy.cut()
    replies = await asyncio.gather(*(gateway.ask(key=f"k{n}") for n in range(20)))
    assert {reply.status for reply in replies} == {503}
    assert gateway.served() == []
    proxy.mend()

    async def serves() -> bool:
        return (await gateway.ask()).status == 200

    await until(serves)
    await until_figures(store, spent=actual_nanos())


async def test_a_running_request_is_never_cut_by_the_store(start_gateway, proxy: FaultProxy, store: RedisStore):
    gateway = start_gateway(store_timeout_s="0.2", on_store_error="closed")
    async with gateway.open(play="stream", words=50, pause=0.01) as (reply, reader):
        assert reply.status == 200
        proxy.cut()
        assert (await reader.read()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    proxy.mend()
    await until_figures(store, spent=actual_nanos(words=50))


async def test_a_slow_store_slows_requests_and_loses_nothing(start_gateway, proxy: FaultProxy, store: RedisStore):
    gateway = start_gateway(store_timeout_s="5", limits="key=100/day")
    proxy.slow_down(0.2)
    replies = await asyncio.gather(*(gateway.ask() for _ in range(50)))
    assert {reply.status for reply in replies} == {200}
    assert not any("x-budget-unprotected" in reply.headers for reply in replies)
    assert await figures(store) == (50 * actual_nanos(), 0)


async def test_two_thousand_at_once_on_a_full_connection_pool(start_gateway, store: RedisStore):
    gateway = start_gateway(store_timeout_s="30", limits="key=10000/day")
    replies = await asyncio.gather(*(gateway.ask() for _ in range(2_000)))
    assert {reply.status for reply in replies} == {200}
    assert not any("x-budget-unprotected" in reply.headers for reply in replies)
    assert await figures(store) == (2_000 * actual_nanos(), 0)
