"""Holds that would live for as long as a client likes."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from budget_middleware.stores.redis import RedisStore
from tests.faults.gateway import OUTPUT_NANOS
from tests.faults.waiting import figures, until

pytestmark = pytest.mark.processes

MESSAGE = {"role": "user", "content": "x" * 65}  # With its keys 80 bytes, which are 20 tokens.
INPUT_NANOS = 20_000


async def test_f66_readers_that_stop_reading_hold_nothing_for_long(start_gateway, store: RedisStore):
    gateway = start_gateway(limits="key=100/day", store_timeout_s="10", idle_hold_s="2")
    async with AsyncExitStack() as stack:
        for _ in range(6):
            # More than all buffers between the app and here can take.
            ask = gateway.open(play="stream", messages=[MESSAGE], words=200_000, pause=0, max_tokens=1_533_331)
            reply, _ = await stack.enter_async_context(ask)
            assert reply.status == 200
        assert (await figures(store))[1] == 6 * (INPUT_NANOS + 1_533_331 * OUTPUT_NANOS), "92 of 100"
        assert (await gateway.ask(max_tokens=1_000_000)).error_code == "budget_held"

        async def nothing_reserved() -> bool:
            return (await figures(store))[1] == 0

        await until(nothing_reserved, within_s=60)
        spent = (await figures(store))[0]
        assert (await gateway.ask(max_tokens=1_000_000, words=0, prompt=0)).status == 200
    # Now that their clients are gone the apps stop. Each had its last message refused, which was seen by nobody.
    await until(lambda: all_ended(gateway))
    streams = [record for record in gateway.served() if record["play"] == "stream"]
    assert not any(record["complete"] for record in streams)
    seen = sum(INPUT_NANOS + record["chunks"] * OUTPUT_NANOS for record in streams)
    assert seen - 6 * OUTPUT_NANOS <= spent <= seen
    assert await figures(store) == (spent, 0)
    assert gateway.log.read_text().count("is ended by its abort rule: its client took and sent nothing for 2 s") == 6


async def all_ended(gateway) -> bool:
    await asyncio.sleep(0)
    return len([record for record in gateway.served() if record["play"] == "stream"]) == 6
