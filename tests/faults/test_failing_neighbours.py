"""Calls of one moment behind a network that fails one of them: the others are answered, and all are booked once.

They may share a connection, as the client likes: then its loss befalls them all, and all are repeated.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.redis import RedisStore
from tests.faults.gateway import USD
from tests.faults.proxy import Fault, FaultProxy
from tests.faults.waiting import figures, until_figures
from tests.stores.audit import audit

pytestmark = pytest.mark.processes

AT_ONCE = 30
TIMEOUT_S = 10.0

LOST = pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.LOSE_REPLY])


@pytest.fixture
async def ledger(proxy: FaultProxy) -> AsyncIterator[Ledger]:
    ledger = Ledger(
        RedisStore(proxy.url, timeout_s=TIMEOUT_S),
        limits=parse_limits("key=100/day"),
        store_timeout_s=TIMEOUT_S,
        lease_ms=600_000,
    )
    yield ledger
    await ledger.drain()


def holds() -> list[Hold]:
    return [Hold({"key": "a"}, Amounts(usd=USD // 10)) for _ in range(AT_ONCE)]


async def reserve_all(ledger: Ledger, asked: list[Hold]) -> None:
    assert all(answer.admits for answer in await asyncio.gather(*map(ledger.reserve, asked)))


async def finalize_all(ledger: Ledger, held: list[Hold]) -> None:
    endings = [ledger.finalize(hold, actual=Amounts(usd=USD // 100)) for hold in held]
    assert all(await asyncio.gather(*endings)), "each is booked, and its caller told so"


@pytest.mark.proves("I8")
@LOST
@pytest.mark.parametrize("verb", ["reserve", "finalize"])
async def test_one_that_is_lost_costs_no_neighbour_its_answer(
    ledger: Ledger, proxy: FaultProxy, store: RedisStore, verb: str, fault: Fault
):
    asked = holds()
    proxy.plan(verb, fault)
    await reserve_all(ledger, asked)
    assert await figures(store) == (0, AT_ONCE * USD // 10)
    await finalize_all(ledger, asked)
    assert await figures(store) == (AT_ONCE * USD // 100, 0)
    await audit(store)


@LOST
async def test_endings_that_are_lost_together_are_one_outage_and_no_more(
    ledger: Ledger, proxy: FaultProxy, store: RedisStore, fault: Fault
):
    """A connection that breaks under many calls does not make a store that is there count as away."""
    asked = holds()
    await reserve_all(ledger, asked)
    # One fault: it cuts the connection that all of them share.
    proxy.plan("finalize", fault)
    await finalize_all(ledger, asked)
    assert await figures(store) == (AT_ONCE * USD // 100, 0)


async def test_one_that_is_never_answered_drops_no_neighbour(proxy: FaultProxy, store: RedisStore):
    """It may take with it what shares its connection; each of them is served all the same, and booked once."""
    ledger = Ledger(RedisStore(proxy.url, timeout_s=0.5), limits=parse_limits("key=100/day"), store_timeout_s=0.5)
    asked = holds()
    proxy.plan("reserve", Fault.SWALLOW)
    answers = await asyncio.gather(*map(ledger.reserve, asked), return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) or answer.admits for answer in answers)  # type: ignore[union-attr]
    proxy.plan("finalize", Fault.SWALLOW)
    for hold in asked:
        ledger.finalize(hold, actual=Amounts(usd=USD // 100))
    await until_figures(store, spent=AT_ONCE * USD // 100)
    await ledger.drain()
    await audit(store)


async def test_one_whose_caller_goes_drops_no_neighbour(ledger: Ledger, proxy: FaultProxy, store: RedisStore):
    asked = holds()
    proxy.slow_down(0.01)
    asking = [asyncio.create_task(ledger.reserve(hold)) for hold in asked]
    while not proxy.seen["reserve"]:
        await asyncio.sleep(0)
    gone, *others = asking
    gone.cancel()
    assert all(answer.admits for answer in await asyncio.gather(*others))
    await until_figures(store, spent=0, reserved=(AT_ONCE - 1) * USD // 10)
    await finalize_all(ledger, asked[1:])
    assert await figures(store) == ((AT_ONCE - 1) * USD // 100, 0)
    await audit(store)
