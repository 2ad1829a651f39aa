"""The event loop stands still while the store's answer is on its way: that is not the store's fault."""

import asyncio
import time
from collections.abc import Callable

import pytest
import uvloop

from budget_middleware.core.limits import parse_limits
from budget_middleware.core.model import Status
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.stores.redis import RedisStore

BLOCKED_S = 0.6


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_f33_a_refusal_that_has_arrived_is_read_after_the_loop_stood_still(
    server_url: str, namespace: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
):
    """Three times, as many as open the breaker; then the next reserve is asked of the store, too."""

    async def reserve_and_block(ledger: Ledger, amount: str) -> Status:
        reserving = asyncio.create_task(ledger.reserve(Hold({"key": "a"}, Amounts(usd=nanos_from_usd(amount)))))
        await asyncio.sleep(0)
        time.sleep(BLOCKED_S)  # noqa: ASYNC251 - that is the fault
        return (await reserving).status

    async def play() -> None:
        store = RedisStore(server_url, namespace=namespace, timeout_s=0.5)
        ledger = Ledger(store, limits=parse_limits("key=1/month"), store_timeout_s=0.5)
        for _ in range(3):
            assert await reserve_and_block(ledger, "5.00") is Status.REJECTED
        held = Hold({"key": "a"}, Amounts(usd=nanos_from_usd("0.60")))
        assert (await ledger.reserve(held)).status is Status.RESERVED
        await ledger.release(held)
        await ledger.drain()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(play())
