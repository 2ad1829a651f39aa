"""A network that is cut between gateways and their store: silently, one way only, for one worker of two."""

import asyncio

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.stores.redis import RedisStore
from tests.faults.gateway import actual_nanos
from tests.faults.waiting import figures, until, until_figures
from tests.partition.conftest import StartGateway
from tests.partition.namespaces import Wire
from tests.stores.audit import audit

pytestmark = pytest.mark.partition

DONE = b"data: [DONE]\n\n\r\n0\r\n\r\n"

CUTS = pytest.mark.parametrize("cut", [Wire.cut, Wire.lose_replies])


@CUTS
async def test_f30_open_serves_behind_a_cut_and_books_once(start_gateway: StartGateway, store: RedisStore, cut):
    gateway, wire = start_gateway(store_timeout_s="0.3")
    assert (await gateway.ask()).status == 200
    cut(wire)
    replies = await asyncio.gather(*(gateway.ask(key=f"k{number}") for number in range(20)))
    assert {(reply.status, reply.headers["x-budget-unprotected"]) for reply in replies} == {(200, "1")}
    wire.mend()
    await until_figures(store, spent=21 * actual_nanos())
    await audit(store)


@CUTS
async def test_f30_closed_refuses_behind_a_cut_and_cuts_no_running_request(
    start_gateway: StartGateway, store: RedisStore, cut
):
    gateway, wire = start_gateway(store_timeout_s="0.3", on_store_error="closed", limits="key=100/day")
    async with gateway.open(play="stream", words=50, pause=0.02) as (reply, reader):
        assert reply.status == 200
        await reader.readuntil(b"\n\n")
        cut(wire)
        refused = await asyncio.gather(*(gateway.ask(key=f"k{number}") for number in range(20)))
        assert {reply.status for reply in refused} == {503}
        assert (await reader.read()).endswith(DONE)
    assert len(gateway.served()) == 1
    wire.mend()
    # What was applied of the refused ones, and whose answers nobody heard, is given back.
    await until_figures(store, spent=actual_nanos(words=50))
    await audit(store)


async def test_a_worker_that_is_cut_off_loses_its_holds_to_others_and_finalizes_late(
    start_gateway: StartGateway, store: RedisStore
):
    settings = {"store_timeout_s": "0.3", "lease_s": "1", "remember_s": "60"}
    (lonely, wire), (other, _) = start_gateway(**settings), start_gateway(**settings)
    async with lonely.open(play="stream", words=2_000, pause=0.002) as (_, reader):
        await reader.readuntil(b"\n\n")
        wire.cut()
        assert (await other.ask()).error_code == "budget_held"

        async def is_given_back() -> bool:
            return (await other.ask()).status == 200

        await until(is_given_back)
        assert await figures(store) == (actual_nanos(), 0)
        assert (await reader.read()).endswith(DONE)
    wire.mend()
    await until_figures(store, spent=actual_nanos() + actual_nanos(words=2_000))
    assert [entry.status for entry in await store.latest(count=1)] == [Status.FINALIZED_LATE]
    await audit(store)
