"""The event loop stands still while the store's answer is on its way: that is not the store's fault."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.stores.redis import RedisStore
from tests.faults.proxy import fault_proxy
from tests.ledger.conftest import drain, hold

BLOCKED_S = 0.6
LATE_S = 0.11
N_WAITING = 20
NewLoop = Callable[[], asyncio.AbstractEventLoop]

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@contextmanager
def at_a_distance(server_url: str, path: Path, delay_s: float) -> Iterator[str]:
    """The URL of a proxy to a server, which delays every command; in a thread, for its loop is not to be late."""
    is_open, loop = threading.Event(), asyncio.new_event_loop()
    closing = asyncio.Event()

    async def serve() -> None:
        async with fault_proxy(Path(server_url.removeprefix("unix://")), path) as proxy:
            proxy.slow_down(delay_s)
            is_open.set()
            await closing.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert is_open.wait(30)
    try:
        yield f"unix://{path}"
    finally:
        loop.call_soon_threadsafe(closing.set)
        thread.join()
        loop.close()


def be_late(n_rounds: int) -> None:
    """Let the loop's next rounds take `LATE_S` each."""
    if n_rounds:
        time.sleep(LATE_S)
        asyncio.get_running_loop().call_soon(be_late, n_rounds - 1)


async def reserve_in_a_late_loop(ledger: Ledger, *, n_late: int) -> Counter[str]:
    """How often which status or error came of reserves that begin just before the loop is late."""
    keys = [f"k{number}" for number in range(N_WAITING)]
    reserving = [asyncio.create_task(ledger.reserve(hold("0.60", key=key))) for key in keys]
    asyncio.get_running_loop().call_soon(be_late, n_late)
    answers = await asyncio.gather(*reserving, return_exceptions=True)
    await drain(ledger)
    return Counter(repr(each) if isinstance(each, BaseException) else each.status for each in answers)


@pytest.mark.parametrize("new_loop", LOOPS)
def test_f33_a_refusal_that_has_arrived_is_read_after_the_loop_stood_still(
    server_url: str, namespace: str, new_loop: NewLoop
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


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("delay_s", [0.02, 0.3])
@pytest.mark.parametrize("n_late", [0, 8])
def test_a_request_that_was_sent_late_is_waited_for(
    n_late: int,
    delay_s: float,
    empty_server_url: str,
    tmp_path: Path,
    new_loop: NewLoop,
):
    """The first connection is made while the loop is late, and the reserves go out when their time is nearly up.

    Then the loop has nothing to do, and polls its sockets as often as one likes before the answers can be there.
    """

    async def play(url: str) -> Counter[str]:
        ledger = Ledger(RedisStore(url, timeout_s=0.5), limits=parse_limits("key=1/month"), store_timeout_s=0.5)
        return await reserve_in_a_late_loop(ledger, n_late=n_late)

    away = at_a_distance(empty_server_url, tmp_path / "proxy", delay_s)
    with away as url, asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(play(url)) == {Status.RESERVED: N_WAITING}


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_source_of_limits_that_takes_many_steps_is_waited_for(server_url: str, namespace: str, new_loop: NewLoop):
    """As one that connects, shakes hands and asks: ten rounds of the loop, and all of them are late."""

    async def source(account: str) -> str | None:
        for _ in range(10):
            await asyncio.sleep(0.001)
        return "1/month" if account.startswith("key:") else None

    async def play() -> Counter[str]:
        store = RedisStore(server_url, namespace=namespace, timeout_s=0.5)
        ledger = Ledger(store, limits_source=source, store_timeout_s=0.5)
        return await reserve_in_a_late_loop(ledger, n_late=12)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(play()) == {Status.RESERVED: N_WAITING}
