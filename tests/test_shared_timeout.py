"""Time-outs by one clock for all: as `asyncio.timeout`, but for a loop that stands still and for a burst."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from budget_middleware.loop_clock import Lateness
from budget_middleware.shared_timeout import QUEUED, SharedTimeout

LONG_S, SHORT_S = 60.0, 0.01

T = TypeVar("T")


@pytest.fixture
async def own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only where the whole loop waits, and then at once: however busy the machine, nobody is late."""
    loop = asyncio.get_running_loop()
    selector = loop._selector  # type: ignore[attr-defined]
    now_s, select = loop.time(), selector.select

    def pass_time(timeout_s: float | None) -> Any:
        nonlocal now_s
        now_s += timeout_s or 0.0
        return select(timeout_s and 0.0)

    monkeypatch.setattr(loop, "time", lambda: now_s)
    monkeypatch.setattr(selector, "select", pass_time)


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def value(result: int) -> int:
    await asyncio.sleep(0)
    return result


async def bound(limit: SharedTimeout, work: Awaitable[T]) -> T:
    with limit.timeout():
        return await work


async def test_what_comes_in_time_is_the_result():
    timeout = SharedTimeout(LONG_S)
    assert await asyncio.gather(*(bound(timeout, value(number)) for number in range(100))) == list(range(100))


async def test_what_takes_longer_is_cancelled_and_told():
    heard = asyncio.Event()

    async def work() -> None:
        try:
            await never()
        except asyncio.CancelledError:
            heard.set()
            raise

    with pytest.raises(TimeoutError, match=r"longer than 0\.01 s"):
        await bound(SharedTimeout(SHORT_S), work())
    assert heard.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling(), "what follows in this task is not cancelled"


async def test_those_that_began_later_go_on(own_time):
    timeout = SharedTimeout(0.2)
    first = asyncio.create_task(bound(timeout, never()))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(bound(timeout, never()))
    with pytest.raises(TimeoutError):
        await first
    assert not second.done()
    with pytest.raises(TimeoutError):
        await second


async def test_an_error_passes():
    async def fails() -> None:
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"):
        await bound(SharedTimeout(LONG_S), fails())


async def test_somebody_elses_cancellation_is_no_time_out():
    task = asyncio.create_task(bound(SharedTimeout(LONG_S), never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_both_at_once_are_a_cancellation():
    """The caller that cancels must not be told of a time-out instead."""
    timeout = SharedTimeout(SHORT_S)
    task = asyncio.create_task(bound(timeout, never()))
    await asyncio.sleep(0)
    (waits,) = timeout._waits.values()
    task.cancel()
    waits.queue[0][1].give_up()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_ends_all_the_same_ends_so():
    """It took its cancellation for nothing: then its result counts, and the task goes on uncancelled."""

    async def stubborn() -> str:
        try:
            await never()
        except asyncio.CancelledError:
            return "done"
        raise AssertionError

    assert await bound(SharedTimeout(SHORT_S), stubborn()) == "done"
    await asyncio.sleep(0)


async def test_one_in_another():
    outer, inner = SharedTimeout(LONG_S), SharedTimeout(SHORT_S)
    with pytest.raises(TimeoutError):
        await bound(outer, bound(inner, never()))
    with pytest.raises(TimeoutError):
        await bound(inner, bound(outer, never()))


async def test_nothing_is_left_of_what_is_over():
    timeout = SharedTimeout(SHORT_S)
    for number in range(1_000):
        await bound(timeout, value(number))
    (waits,) = timeout._waits.values()
    assert len(waits.queue) <= 1


def block(seconds: float) -> None:
    """What a handler does that computes, or calls a blocking library."""
    time.sleep(seconds)


@asynccontextmanager
async def receiving(shared: SharedTimeout) -> AsyncIterator[tuple[socket.socket, asyncio.Task[bytes]]]:
    """A task that waits for a byte within the time-out, and the socket to send it by."""
    received, sent = socket.socketpair()
    with received, sent:
        received.setblocking(False)
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(bound(shared, loop.sock_recv(received, 1)))
        await asyncio.sleep(0)
        yield sent, waiting


async def test_an_answer_that_has_arrived_is_read_before_anything_is_given_up():
    """The loop stands still for three time-outs; the answer has been in the socket's buffer all along."""
    timeout = SharedTimeout(0.1)
    async with receiving(timeout) as (sent, waiting):
        sent.send(b"x")
        block(0.3)
        assert await waiting == b"x"


async def test_an_answer_that_arrives_just_before_its_wait_is_given_up_is_read():
    timeout = SharedTimeout(0.1)
    async with receiving(timeout) as (sent, waiting):
        (waits,) = timeout._waits.values()
        ((_, wait),) = waits.queue
        while waits.left_s(wait) >= waits.clock.tick_s:
            await asyncio.sleep(0)
        sent.send(b"x")
        # The next tick, at which it is due, is over before the loop looks at its sockets again.
        block(1.2 * waits.clock.tick_s)
        assert await waiting == b"x"


async def test_the_clock_stands_nearly_still_with_its_loop():
    timeout = SharedTimeout(1.0)
    waiting = asyncio.create_task(bound(timeout, never()))
    await asyncio.sleep(0)
    (waits,) = timeout._waits.values()
    block(0.5)
    ticked = waits.clock.now_s
    while waits.clock.now_s == ticked:
        await asyncio.sleep(0)
    assert waits.clock.now_s <= 2 * waits.clock.tick_s
    waiting.cancel()


async def test_none_of_a_burst_is_given_up_while_others_are_answered(own_time):
    """Answers come one after the other, the last one after twenty time-outs."""
    timeout, gates = SharedTimeout(0.05), [asyncio.Event() for _ in range(40)]
    waiting = [asyncio.create_task(bound(timeout, gate.wait())) for gate in gates]
    for gate in gates:
        await asyncio.sleep(0.025)
        gate.set()
    assert all(await asyncio.gather(*waiting))


async def test_none_of_a_burst_is_given_up_because_later_calls_are_answered_first(own_time):
    """As where two connections share a burst: the later ones come first, the earlier ones after ten time-outs."""
    timeout, gates = SharedTimeout(0.05), [asyncio.Event() for _ in range(40)]
    waiting = [asyncio.create_task(bound(timeout, gate.wait())) for gate in gates[:20]]
    await asyncio.sleep(0.02)
    waiting += [asyncio.create_task(bound(timeout, gate.wait())) for gate in gates[20:]]
    for gate in (*gates[20:], *gates[:20]):
        await asyncio.sleep(0.025)
        gate.set()
    assert all(await asyncio.gather(*waiting))


async def test_quick_successes_do_not_prolong_a_wait(own_time):
    """As a heartbeat's beside a call whose answer was lost: there is no queue that the call might stand in."""
    timeout = SharedTimeout(1.0)
    lost = asyncio.create_task(bound(timeout, never()))
    await asyncio.sleep(0)
    (waits,) = timeout._waits.values()
    while waits.clock.now_s < 0.75:
        await asyncio.sleep(0.05)
        assert await bound(timeout, value(1)) == 1
    with pytest.raises(TimeoutError):
        await lost
    # Had they counted, it would have gone on until 1.75.
    assert waits.clock.now_s < 1.7


async def test_a_wait_that_was_overtaken_is_given_up_however_many_others_succeed(own_time):
    timeout = SharedTimeout(0.05)
    lost = asyncio.create_task(bound(timeout, never()))
    async with asyncio.timeout(30):
        while not lost.done():
            # So long that it may have stood in a queue, as the lost one may.
            await bound(timeout, asyncio.sleep(2 * QUEUED * 0.05))
    with pytest.raises(TimeoutError):
        await lost


async def test_a_wait_that_is_renewed_begins_anew(own_time):
    timeout, renewed = SharedTimeout(0.05), 0

    async def renew_and_wait() -> None:
        nonlocal renewed
        with timeout.timeout() as wait:
            while renewed < 10:
                await asyncio.sleep(0.025)
                wait.renew()
                renewed += 1
            await never()

    with pytest.raises(TimeoutError):
        await renew_and_wait()
    assert renewed == 10


async def test_one_that_is_renewed_at_once_is_given_up_once(own_time):
    """Else its second cancellation would be taken for somebody else's: whoever waits for it would hear of that."""
    timeout = SharedTimeout(0.05)

    async def renew_and_wait() -> None:
        with timeout.timeout() as wait:
            wait.renew()
            await asyncio.sleep(0)
            wait.renew()
            await never()

    with pytest.raises(TimeoutError):
        await renew_and_wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_lateness_is_told_by_name_and_not_every_time(caplog: pytest.LogCaptureFixture):
    lateness = Lateness()
    for late_s in (0.6, 2.0, 1.0):
        lateness.report(late_s)
    (record,) = caplog.records
    assert record.getMessage().startswith("the event loop of this worker was blocked for 0.60 s")
