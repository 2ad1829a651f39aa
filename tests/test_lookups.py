"""A user's look-up is asked once for what many want to know at once, and again when its answer is old."""

import asyncio
import threading

import pytest

from budget_middleware import lookups
from budget_middleware.lookups import Lookup
from budget_middleware.testing import Gate


class Source:
    """Counts what it is asked, and answers when its gate opens."""

    def __init__(self, answer="known"):
        self.asked = []
        self.answer = answer
        self.gate = Gate()

    async def __call__(self, key):
        self.asked.append(key)
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def source():
    return Source()


async def at_once(lookup, source, n=8):
    tasks = [asyncio.create_task(lookup("k")) for _ in range(n)]
    await source.gate.reached()
    source.gate.open()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_at_once_ask_once(source):
    lookup = Lookup(source)
    assert await at_once(lookup, source) == ["known"] * 8
    assert await lookup("k") == "known"
    assert source.asked == ["k"]


async def test_none_is_an_answer_too(source):
    source.answer = None
    lookup = Lookup(source)
    assert await at_once(lookup, source) == [None] * 8
    assert await lookup("k") is None
    assert source.asked == ["k"]


async def test_a_failure_reaches_everybody_and_is_not_kept(source):
    source.answer = OSError("no directory")
    lookup = Lookup(source)
    assert await at_once(lookup, source) == [source.answer] * 8
    assert source.asked == ["k"]
    source.answer = "back"
    assert await lookup("k") == "back"


async def test_who_asked_first_may_leave(source):
    """A client that goes cancels its own waiting, not the question of the others."""
    lookup = Lookup(source)
    first, second = (asyncio.create_task(lookup("k")) for _ in range(2))
    await source.gate.reached()
    first.cancel()
    await asyncio.wait([first])
    source.gate.open()
    assert await second == "known"
    assert source.asked == ["k"]


async def test_a_failure_that_nobody_waits_for_is_quiet(source):
    source.answer = OSError("no directory")
    lookup = Lookup(source)
    task = asyncio.create_task(lookup("k"))
    await source.gate.reached()
    task.cancel()
    await asyncio.wait([task])
    source.gate.open()


async def test_an_old_answer_is_asked_for_again(source):
    source.gate.open()
    lookup = Lookup(source, ttl_s=0.001)
    async with asyncio.timeout(10):
        while len(source.asked) < 2:
            assert await lookup("k") == "known"
            await asyncio.sleep(0)


async def test_two_look_ups_of_the_same_key_do_not_meet(source):
    other = Source("other")
    lookups = Lookup(source), Lookup(other)
    tasks = [asyncio.create_task(lookup("k")) for lookup in lookups]
    await source.gate.reached()
    await other.gate.reached()
    other.gate.open()
    source.gate.open()
    assert await asyncio.gather(*tasks) == ["known", "other"]


def test_event_loops_do_not_meet():
    both = threading.Barrier(2)

    async def answer(key):
        both.wait()
        return key

    lookup = Lookup(answer)
    told = []
    threads = [threading.Thread(target=lambda: told.append(asyncio.run(lookup("k")))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["k", "k"]


async def test_a_flood_of_keys_does_not_grow(source, monkeypatch):
    monkeypatch.setattr(lookups, "MAX_KEYS", 10)
    source.gate.open()
    lookup = Lookup(source)
    for number in range(11):
        await lookup(str(number))
    await lookup("10")
    await lookup("0")
    assert source.asked[11:] == ["0"]
