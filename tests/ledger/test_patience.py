"""Time-outs by one timer for all: as `asyncio.timeout`, to whoever waits."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from budget_middleware.ledger.patience import Patience

LONG_S, SHORT_S = 60.0, 0.01

T = TypeVar("T")


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def value(result: int) -> int:
    await asyncio.sleep(0)
    return result


async def bound(patience: Patience, work: Awaitable[T]) -> T:
    with patience.timeout():
        return await work


async def test_what_comes_in_time_is_the_result():
    patience = Patience(LONG_S)
    assert await asyncio.gather(*(bound(patience, value(number)) for number in range(100))) == list(range(100))


async def test_what_takes_longer_is_cancelled_and_told():
    heard = asyncio.Event()

    async def work() -> None:
        try:
            await never()
        except asyncio.CancelledError:
            heard.set()
            raise

    with pytest.raises(TimeoutError, match=r"longer than 0\.01 s"):
        await bound(Patience(SHORT_S), work())
    assert heard.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling(), "what follows in this task is not cancelled"


async def test_those_that_began_later_go_on():
    patience = Patience(0.2)
    first = asyncio.create_task(bound(patience, never()))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(bound(patience, never()))
    with pytest.raises(TimeoutError):
        await first
    assert not second.done()
    with pytest.raises(TimeoutError):
        await second


async def test_an_error_passes():
    async def fails() -> None:
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"):
        await bound(Patience(LONG_S), fails())


async def test_somebody_elses_cancellation_is_no_time_out():
    task = asyncio.create_task(bound(Patience(LONG_S), never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_both_at_once_are_a_cancellation():
    """The caller that cancels must not be told of a time-out instead."""
    patience = Patience(SHORT_S)
    task = asyncio.create_task(bound(patience, never()))
    await asyncio.sleep(0)
    (waits,) = patience._waits.values()
    task.cancel()
    await_look = asyncio.get_running_loop()
    waits._queue[0].until_s = await_look.time()
    waits._look(await_look)
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

    assert await bound(Patience(SHORT_S), stubborn()) == "done"
    await asyncio.sleep(0)


async def test_one_in_another():
    outer, inner = Patience(LONG_S), Patience(SHORT_S)
    with pytest.raises(TimeoutError):
        await bound(outer, bound(inner, never()))
    with pytest.raises(TimeoutError):
        await bound(inner, bound(outer, never()))


async def test_nothing_is_left_of_what_is_over():
    patience = Patience(SHORT_S)
    for number in range(1_000):
        await bound(patience, value(number))
    (waits,) = patience._waits.values()
    assert len(waits._queue) <= 1
