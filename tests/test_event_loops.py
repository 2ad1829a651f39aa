"""A value belongs to one event loop of one process."""

import asyncio
import gc
import os
import threading
import weakref

from budget_middleware.event_loops import PerEventLoop


class Value:
    pass


def test_each_event_loop_has_one_of_its_own():
    values = PerEventLoop(Value)

    async def look() -> tuple[Value, Value]:
        first = values.current()
        await asyncio.to_thread(asyncio.run, look_once())
        return first, values.current()

    async def look_once() -> None:
        assert values.current() is values.current()

    first, again = asyncio.run(look())
    assert first is again
    other, _ = asyncio.run(look())
    assert other is not first


def test_it_is_forgotten_with_its_loop():
    values = PerEventLoop(Value)

    async def look() -> "weakref.ref[Value]":
        return weakref.ref(values.current())

    seen = asyncio.run(look())
    gc.collect()
    assert seen() is None
    assert not values.values()


def test_it_is_none_any_more_once_it_was_taken():
    values = PerEventLoop(Value)

    async def take() -> None:
        first = values.current()
        assert values.pop() is first
        assert values.pop() is None
        assert values.current() is not first
        assert len(values.values()) == 1

    asyncio.run(take())


def test_threads_do_not_see_each_others():
    values = PerEventLoop(Value)
    together = threading.Barrier(4)
    seen: list[set[int]] = []

    async def look() -> None:
        together.wait()
        own = [values.current() for _ in range(20_000)]
        seen.append(set(map(id, own)))
        together.wait()

    threads = [threading.Thread(target=asyncio.run, args=(look(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(ids) for ids in seen] == [1] * 4
    assert len(set().union(*seen)) == 4


def test_a_forked_child_has_none_of_its_parents():
    values = PerEventLoop(Value)
    loop = asyncio.new_event_loop()

    async def look() -> Value:
        return values.current()

    mine = loop.run_until_complete(look())
    child = os.fork()
    if child == 0:
        os._exit(len(values.values()))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert loop.run_until_complete(look()) is mine
    loop.close()
